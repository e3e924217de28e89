// Steps of a pipeline on factors: the same as on the matrix that these stand for.
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "aggregators/lora/low_rank_products.h"
#include "aggregators/optimize/server_optimizer.h"
#include "aggregators/pipeline.h"
#include "aggregators/transform/update_transform.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregators/lora/adapters.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::ProductOf;
using ::tributary::test::RandomFactors;
using ::tributary::test::RelativeError;
using ::tributary::test::Rows;
using ::tributary::test::StatusIs;
using ::tributary::test::Times;
using ::tributary::test::Unflat;

LayoutPtr Layout() { return MakeLayout({{"p.weight", {9, 7}}, {"q.weight", {5, 9}}}); }

LowRankModel RandomModel(uint64_t seed) {
  Rng rng(seed);
  return {{"p", RandomFactors(9, 7, 2, rng)}, {"q", RandomFactors(5, 9, 3, rng)}};
}

ParamVector Dense(const LowRankModel& model) {
  ParamVector dense(Layout());
  for (const auto& [name, factors] : model) AddProduct(factors, dense.View(name + ".weight"));
  return dense;
}

double Error(const LowRankModel& got, const ParamVector& want) {
  const ParamVector dense = Dense(got);
  double off = 0;
  for (size_t i = 0; i < dense.values().size(); ++i) {
    const double d = static_cast<double>(dense.values()[i] - want.values()[i]);
    off += d * d;
  }
  return std::sqrt(off / SquaredNorm(want.values()));
}

std::shared_ptr<const LoraPlan> Plan() {
  LoraTerms terms{.rule = "lora_stacking"};
  terms.spec.rank = 4;
  terms.spec.targets = {"*"};
  return LoraPlan::Create(terms, *Layout()).value();
}

TEST(LowRankStepsTest, ClipBoundsTheNormOverAllModules) {
  const auto clip = TransformRegistry()
                        .Create({"clip", {{"norm", 1.5}}, {}}, {Layout(), nullptr, Plan()})
                        .value();
  LowRankModel delta = RandomModel(1);
  Aggregate dense{.delta = Dense(delta)};
  ASSERT_THAT(clip->ApplyLowRank(delta, {}), IsOk());
  ASSERT_THAT(clip->Apply(dense, {}), IsOk());
  EXPECT_NEAR(Norm(delta), 1.5, 1e-6);
  EXPECT_LT(Error(delta, dense.delta), 1e-6);

  ScaleProducts(1e-3, delta);
  const LowRankModel small = delta;
  ASSERT_THAT(clip->ApplyLowRank(delta, {}), IsOk());
  EXPECT_EQ(delta, small) << "below the bound nothing happens";
}

TEST(LowRankStepsTest, OptimizersTakeTheSameStepsAsOnMatrices) {
  struct Case {
    const char* name;
    nlohmann::json options;
  };
  const std::vector<Case> cases = {
      {"sgd", {{"learning_rate", 0.5}}},
      {"hypergradient", {{"form", "cosine"}}},
      {"hypergradient", {{"form", "raw"}, {"gain", 0.001}}},
      {"hypergradient", {{"variant", "server_local"}}},
  };
  for (const Case& c : cases) {
    const auto make = [&] {
      return OptimizerRegistry().Create({c.name, c.options, {}}, {Layout(), nullptr}).value();
    };
    const auto low = make(), dense = make();
    for (uint64_t step = 0; step < 8; ++step) {
      LowRankModel delta = RandomModel(step / 2);  // pairs that agree
      if (step > 4) ScaleProducts(1e4, delta);     // and three that are too long for some
      ParamVector full = Dense(delta);
      const DeltaOrigin origin{.mean_staleness = static_cast<double>(step % 2)};
      ASSERT_THAT(low->StepLowRank(delta, origin, /*beside_momentum=*/step % 4 == 3), IsOk());
      ASSERT_THAT(step % 4 == 3 ? dense->StepBesideMomentum(full.trainable(), origin)
                                : dense->Step(full.trainable(), origin),
                  IsOk());
      EXPECT_NEAR(low->rate(), dense->rate(), 1e-5 * dense->rate()) << c.name << step;
      EXPECT_NEAR(low->client_rate(), dense->client_rate(), 1e-5) << c.name << step;
      EXPECT_LT(Error(delta, full), 1e-5) << c.name << step;
    }
  }
}

TEST(LowRankStepsTest, ProjectionMakesRowsOrthogonalToWhatEarlierTasksSpan) {
  const auto projection =
      TransformRegistry()
          .Create({"orthogonal_projection", {{"energy", 1.0}}, {}}, {Layout(), nullptr, Plan()})
          .value();
  // The inputs of p span two directions, those of q one: their Gram matrices, triangle by triangle.
  const CollectRequest& request = *projection->collects();
  std::vector<double> sum(static_cast<size_t>(request.layout->size()));
  std::map<std::string, Rows> inputs;
  Rng rng(3);
  for (const auto& [name, count] : {std::pair<std::string, int>{"p", 2}, {"q", 1}}) {
    const int64_t dim = name == "p" ? 7 : 9;
    Rows x(static_cast<size_t>(count), std::vector<double>(static_cast<size_t>(dim)));
    for (auto& row : x) {
      for (double& v : row) v = rng.Normal();
    }
    const ParamLayout::Tensor* const gram = request.layout->Find(name + ".weight.gram");
    ASSERT_NE(gram, nullptr) << "biases are not folded in: they do not move";
    ASSERT_EQ(gram->size, dim * (dim + 1) / 2);
    size_t at = static_cast<size_t>(gram->offset);
    for (size_t i = 0; i < static_cast<size_t>(dim); ++i) {
      for (size_t j = i; j < static_cast<size_t>(dim); ++j, ++at) {
        for (const auto& row : x) sum[at] += row[i] * row[j];
      }
    }
    inputs[name] = std::move(x);
  }
  ASSERT_THAT(projection->Learn(sum, 1, {}, {}), IsOk());
  LowRankModel delta = RandomModel(5);
  const LowRankModel before = delta;
  ASSERT_THAT(projection->ApplyLowRank(delta, {}), IsOk());
  for (const auto& [name, x] : inputs) {
    const Rows d = ProductOf(delta.at(name)), was = ProductOf(before.at(name));
    for (const auto& input : x) {
      double moved = 0, would = 0;
      for (size_t i = 0; i < d.size(); ++i) {
        double y = 0, y0 = 0;
        for (size_t j = 0; j < input.size(); ++j) {
          y += d[i][j] * input[j];
          y0 += was[i][j] * input[j];
        }
        moved += y * y, would += y0 * y0;
      }
      EXPECT_LT(std::sqrt(moved / would), 1e-5) << name;
    }
    EXPECT_EQ(delta.at(name).b, before.at(name).b) << "A alone changes";
    EXPECT_GT(Norm(delta.at(name)), 0.1 * Norm(before.at(name)));
  }
}

TEST(AdapterPipelineTest, UnsoundCombinationsAreRefusedWithTheRemedy) {
  const auto validate = [](const nlohmann::json& section) {
    return config::Parse<AggregationSpec>(config::NodeFromJsonText(section.dump()).value(),
                                          "aggregation")
        .status();
  };
  EXPECT_THAT(validate({{"combine", "lora_stacking"},
                        {"transforms", {{{"clip", {{"norm", 1}}}}, "orthogonal_projection"}}}),
              IsOk());
  EXPECT_THAT(validate({{"combine", "lora_average"}, {"optimizer", "adam"}}), IsOk());
  EXPECT_THAT(validate({{"combine", "lora_stacking"}, {"optimizer", "adam"}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("allowed: sgd")));
  EXPECT_THAT(validate({{"combine", "lora_stacking"}, {"transforms", {"prune_mask"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nothing to prune")));
  EXPECT_THAT(validate({{"combine", "flexlora"}, {"transforms", {"orthogonal_projection"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("lora_stacking")));
  EXPECT_THAT(validate({{"combine", "fedex"}, {"transforms", {{{"clip", {{"norm", 1}}}}}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no transform")));
  EXPECT_THAT(validate({{"combine", "fedex"}, {"optimizer", {{"sgd", {{"learning_rate", 0.5}}}}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("learning_rate 1")));
}

}  // namespace
}  // namespace tributary
