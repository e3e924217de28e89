#include "aggregators/transform/orthogonal_projection.h"

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/state_copy.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tributary::test::CopyState;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::MakeParams;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;

absl::StatusOr<std::unique_ptr<UpdateTransform>> Make(const LayoutPtr& layout,
                                                      nlohmann::json options) {
  return TransformRegistry().Create({"orthogonal_projection", std::move(options), {}},
                                    TransformDeps{.layout = layout});
}

std::unique_ptr<UpdateTransform> MustMake(const LayoutPtr& layout, nlohmann::json options) {
  auto made = Make(layout, std::move(options));
  EXPECT_THAT(made, IsOk());
  return *std::move(made);
}

ParamVector Apply(UpdateTransform& transform, const ParamVector& delta,
                  const Mask* mask = nullptr) {
  Aggregate aggregate;
  aggregate.delta = delta.Clone();
  EXPECT_THAT(transform.Apply(aggregate, {.mask = mask}), IsOk());
  return std::move(aggregate.delta);
}

absl::Status Learn(UpdateTransform& transform, const std::vector<double>& sum) {
  return transform.Learn(sum, 1, {}, {});
}

// What a client whose inputs are these columns sends: the upper triangle of A·Aᵀ.
std::vector<double> PackedGram(const std::vector<std::vector<double>>& columns) {
  std::vector<double> packed;
  for (size_t i = 0; i < columns[0].size(); ++i) {
    for (size_t j = i; j < columns[0].size(); ++j) {
      double sum = 0;
      for (const auto& x : columns) sum += x[i] * x[j];
      packed.push_back(sum);
    }
  }
  return packed;
}

const LayoutPtr kLinear = MakeLayout({{.name = "fc1.weight", .shape = {2, 3}},
                                      {.name = "fc1.bias", .shape = {2}},
                                      {.name = "stat", .shape = {1}, .kind = TensorKind::kBuffer}});

// A network of linear layers with biases and ReLU, over a flat vector of parameters.
std::vector<std::vector<double>> LayerInputs(const ParamVector& model, std::vector<double> x,
                                             std::vector<double>* outputs) {
  std::vector<std::vector<double>> inputs;
  const auto& tensors = model.layout()->tensors();
  for (size_t t = 0; t < tensors.size(); t += 2) {
    if (t > 0) {
      for (double& value : x) value = std::max(value, 0.0);
    }
    inputs.push_back(x);
    inputs.back().push_back(1);
    const auto weight = model.View(tensors[t].name), bias = model.View(tensors[t + 1].name);
    std::vector<double> y(bias.begin(), bias.end());
    for (size_t i = 0; i < y.size(); ++i) {
      for (size_t j = 0; j < x.size(); ++j) y[i] += weight[i * x.size() + j] * x[j];
    }
    x = y;
  }
  *outputs = x;
  return inputs;
}

TEST(OrthogonalProjectionTest, BeforeTheFirstTasksEndItChangesNothing) {
  const auto transform = MustMake(kLinear, {});
  const ParamVector delta = RandomParams(kLinear, 1);
  EXPECT_THAT(Apply(*transform, delta), ParamsNear(delta, 0));
}

TEST(OrthogonalProjectionTest, OldInputsGiveTheSameOutputs) {
  const auto transform = MustMake(kLinear, {{"biases", "ignored"}});
  ASSERT_THAT(Learn(*transform, PackedGram({{5, 0, 0}})), IsOk());
  const ParamVector delta = MakeParams(kLinear, {2, 1, -1, 0.5F, -3, 4, 7, 8, 9});
  EXPECT_THAT(Apply(*transform, delta), ParamsNear({0, 1, -1, 0, -3, 4, 7, 8, 9}, 0));
}

TEST(OrthogonalProjectionTest, AFoldedBiasIsTheWeightOfOneInputMore) {
  const auto transform = MustMake(kLinear, {{"energy", 1.0}});
  // Two old inputs, (x, 1): neither output may move for them.
  const std::vector<std::vector<double>> old = {{1, 2, 3, 1}, {0, 1, -1, 1}};
  ASSERT_THAT(Learn(*transform, PackedGram(old)), IsOk());
  const ParamVector projected = Apply(*transform, RandomParams(kLinear, 2));
  for (const auto& x : old) {
    for (size_t row = 0; row < 2; ++row) {
      double moved = projected.View("fc1.bias")[row];
      for (size_t i = 0; i < 3; ++i) moved += projected.View("fc1.weight")[3 * row + i] * x[i];
      EXPECT_NEAR(moved, 0, 2e-6);
    }
  }
  EXPECT_GT(SquaredNorm(projected.trainable()), 0.1) << "and yet there is a way left to learn";
}

TEST(OrthogonalProjectionTest, FrozenBiasesStayOnceThereIsSomethingToProtect) {
  const auto transform = MustMake(kLinear, {{"biases", "frozen"}});
  const ParamVector delta = MakeParams(kLinear, {2, 1, -1, 0.5F, -3, 4, 7, 8, 9});
  EXPECT_THAT(Apply(*transform, delta), ParamsNear(delta, 0));
  ASSERT_THAT(Learn(*transform, std::vector<double>(6)), IsOk()) << "a dead layer has no energy";
  EXPECT_THAT(Apply(*transform, delta), ParamsNear(delta, 0));
  ASSERT_THAT(Learn(*transform, PackedGram({{5, 0, 0}})), IsOk());
  EXPECT_THAT(Apply(*transform, delta), ParamsNear({0, 1, -1, 0, -3, 4, 0, 0, 9}, 0));
}

TEST(OrthogonalProjectionTest, NormsAreFrozenHeadsAndWhatIsNotChosenAreFree) {
  const LayoutPtr layout = MakeLayout({{.name = "conv.weight", .shape = {1, 1, 2, 1}},
                                       {.name = "norm.weight", .shape = {1}},
                                       {.name = "fc.weight", .shape = {1, 2}},
                                       {.name = "fc.bias", .shape = {1}},
                                       {.name = "heads.0.weight", .shape = {1, 2}},
                                       {.name = "heads.0.bias", .shape = {1}}});
  const auto transform = MustMake(layout, {{"layers", {"conv.*"}}});
  ASSERT_THAT(Learn(*transform, PackedGram({{1, 0}})), IsOk());
  EXPECT_THAT(Apply(*transform, MakeParams(layout, {1, 1, 1, 1, 1, 1, 1, 1, 1})),
              ParamsNear({0, 1, 0, 1, 1, 1, 1, 1, 1}, 0));
}

// A 3×3 image 1…9 under a 2×2 kernel: a projected delta leaves all four of its pixels alone.
TEST(OrthogonalProjectionTest, AConvolutionsRowsAreInTheOrderOfIm2col) {
  const LayoutPtr layout = MakeLayout({{.name = "conv.weight", .shape = {3, 1, 2, 2}}});
  const auto transform = MustMake(layout, {{"energy", 1.0}});
  const std::vector<std::vector<double>> patches = {
      {1, 2, 4, 5}, {2, 3, 5, 6}, {4, 5, 7, 8}, {5, 6, 8, 9}};
  ASSERT_THAT(Learn(*transform, PackedGram(patches)), IsOk());
  const ParamVector delta = Apply(*transform, RandomParams(layout, 5));
  for (size_t filter = 0; filter < 3; ++filter) {
    for (const auto& patch : patches) {
      double pixel = 0;
      for (size_t i = 0; i < 4; ++i) pixel += delta.values()[4 * filter + i] * patch[i];
      EXPECT_NEAR(pixel, 0, 1e-5);
    }
  }
  EXPECT_GT(SquaredNorm(delta.values()), 1e-3) << "the patches have rank 2 of 4";
}

// With all of the energy, fewer inputs than dimensions and folded biases, each layer's old inputs
// stay what they were if those of the layer before do: so the logits do, however deep.
TEST(OrthogonalProjectionTest, ADeepNetworksLogitsForOldExamplesStay) {
  const LayoutPtr layout = MakeLayout({{.name = "fc1.weight", .shape = {30, 20}},
                                       {.name = "fc1.bias", .shape = {30}},
                                       {.name = "fc2.weight", .shape = {25, 30}},
                                       {.name = "fc2.bias", .shape = {25}},
                                       {.name = "fc3.weight", .shape = {4, 25}},
                                       {.name = "fc3.bias", .shape = {4}}});
  const auto transform = MustMake(layout, {{"energy", 1.0}});
  ParamVector model = RandomParams(layout, 1, 0.3F);
  Rng rng(2);
  std::vector<std::vector<double>> examples(6, std::vector<double>(20)), logits(6);
  std::vector<std::vector<std::vector<double>>> inputs(3);  // by layer
  for (size_t e = 0; e < examples.size(); ++e) {
    for (double& x : examples[e]) x = rng.Normal();
    const auto of_layers = LayerInputs(model, examples[e], &logits[e]);
    for (size_t l = 0; l < 3; ++l) inputs[l].push_back(of_layers[l]);
  }
  std::vector<double> sum;
  for (const auto& layer : inputs) {
    const auto packed = PackedGram(layer);
    sum.insert(sum.end(), packed.begin(), packed.end());
  }
  ASSERT_THAT(Learn(*transform, sum), IsOk());
  for (uint64_t version = 0; version < 10; ++version) {
    AddScaled(1, Apply(*transform, RandomParams(layout, 10 + version, 0.1F)).values(),
              model.values());
  }
  std::vector<double> now;
  for (size_t e = 0; e < examples.size(); ++e) {
    LayerInputs(model, examples[e], &now);
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(now[i], logits[e][i], 1e-4);
  }
  std::vector<double> elsewhere(20, 1.0), moved;
  LayerInputs(RandomParams(layout, 1, 0.3F), elsewhere, &now);
  LayerInputs(model, elsewhere, &moved);
  EXPECT_GT(std::abs(moved[0] - now[0]), 0.01) << "other inputs' logits do move";
}

TEST(OrthogonalProjectionTest, StaysInsideTheMaskAndOrthogonal) {
  const LayoutPtr layout = MakeLayout({{.name = "fc.weight", .shape = {1, 3}}});
  const auto transform = MustMake(layout, {});
  ASSERT_THAT(Learn(*transform, PackedGram({{0.6, 0.8, 0}})), IsOk());
  const Mask mask({true, false, true});
  EXPECT_THAT(Apply(*transform, MakeParams(layout, {2, 1, -1}), &mask),
              ParamsNear({0, 0, -1}, 1e-6));
  const Mask other({true});
  Aggregate aggregate;
  aggregate.delta = ParamVector(layout);
  EXPECT_THAT(transform->Apply(aggregate, {.mask = &other}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mask has 1")));
}

TEST(OrthogonalProjectionTest, WhatATaskProtectsGrowsWithTheIncrement) {
  const LayoutPtr layout = MakeLayout({{.name = "fc.weight", .shape = {1, 3}}});
  const auto transform = MustMake(layout, {{"energy", 0.85}, {"energy_increment", 0.1}});
  const std::vector<double> sum = PackedGram({{3, 0, 0}, {0, 1, 0}, {3, 0, 0}, {0, 1, 0}});
  const ParamVector delta = MakeParams(layout, {1, 1, 1});
  ASSERT_THAT(Learn(*transform, sum), IsOk());
  EXPECT_THAT(Apply(*transform, delta), ParamsNear({0, 1, 1}, 1e-6)) << "0.9 of it is in one";
  ASSERT_THAT(Learn(*transform, sum), IsOk());
  EXPECT_THAT(Apply(*transform, delta), ParamsNear({0, 0, 1}, 1e-6)) << "0.95 takes two";
}

TEST(OrthogonalProjectionTest, TheRequestSaysWhatToSend) {
  const auto gram = MustMake(kLinear, {});
  EXPECT_EQ(gram->collects()->options_json,
            R"({"layers":[{"augmented":true,"dim":4,"name":"fc1.weight"}],"method":"gram"})");
  EXPECT_EQ(gram->collects()->kind, CollectKind::kSketch);
  ASSERT_NE(gram->collects()->layout->Find("fc1.weight.gram"), nullptr);
  EXPECT_EQ(gram->collects()->layout->size(), 10);
  const auto sketch =
      MustMake(kLinear, {{"method", "sketch"}, {"columns", 2.5}, {"biases", "frozen"}});
  const ParamLayout& layout = *sketch->collects()->layout;
  EXPECT_EQ(layout.Find("fc1.weight.sketch")->shape, (std::vector<int64_t>{3, 8}));
  EXPECT_EQ(layout.Find("fc1.weight.energy")->shape, (std::vector<int64_t>{1}));
}

TEST(OrthogonalProjectionTest, RefusesModelsThatItCannotProtect) {
  const auto refusal = [](std::vector<ParamLayout::Tensor> tensors, nlohmann::json options = {}) {
    return Make(MakeLayout(std::move(tensors)), std::move(options)).status();
  };
  EXPECT_THAT(refusal({{.name = "fc.weight", .shape = {2, 2}},
                       {.name = "bn.running_mean", .shape = {2}, .kind = TensorKind::kBuffer}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("bn.running_mean"), HasSubstr("group norm"))));
  EXPECT_THAT(refusal({{.name = "w", .shape = {4}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layers: '*'")));
  EXPECT_THAT(refusal({{.name = "fc.weight", .shape = {2, 2}}}, {{"layers", {"*", "cf.*"}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'cf.*'")));
  EXPECT_THAT(refusal({{.name = "fc.weight", .shape = {1, 20000}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("fc.weight"), HasSubstr("20000"), HasSubstr("16384"))));
}

TEST(OrthogonalProjectionTest, RefusesOptionsOutOfRange) {
  const std::vector<std::pair<const char*, nlohmann::json>> bad = {
      {"energy", 1.5},        {"energy_increment", -0.1},
      {"criterion", "maybe"}, {"method", "guess"},
      {"columns", 0},         {"layers", nlohmann::json::array()},
      {"biases", "bent"}};
  for (const auto& [field, value] : bad) {
    EXPECT_THAT(Make(nullptr, {{field, value}}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

TEST(OrthogonalProjectionTest, ASumThatIsNotFiniteNamesTheLayer) {
  const auto transform = MustMake(kLinear, {});
  std::vector<double> sum(10, 1.0);
  sum[4] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(Learn(*transform, sum),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("fc1.weight.gram")));
  EXPECT_THAT(Learn(*transform, {1, 2}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 values; allowed: 10")));
}

TEST(OrthogonalProjectionTest, RefusesARestoredStateThatIsNotTheModels) {
  const auto learnt = MustMake(kLinear, {}), other = MustMake(kLinear, {{"biases", "ignored"}});
  ASSERT_THAT(Learn(*learnt, PackedGram({{1, 2, 3, 1}})), IsOk());
  CopyState(learnt->State(), other->State());
  EXPECT_THAT(other->Restored(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("fc1.weight")));
  *learnt->State().scalars.at("tasks") = 0;
  EXPECT_THAT(learnt->Restored(), StatusIs(absl::StatusCode::kDataLoss));
  *learnt->State().scalars.at("tasks") = 1;
  EXPECT_THAT(learnt->Restored(), IsOk());
  learnt->State().vectors.at("basis")->values()[0] = std::nanf("");
  EXPECT_THAT(learnt->Restored(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("finite")));
}

// The authors' server code over three tasks of a network 12-10-8-6-4 with three clients, run once:
// weights trained (the clients' mean), published, sketches (their sum), ranks and projectors. Its
// clients send sketches of the residual and its norm, which here becomes the energy that says the
// same.
TEST(OrthogonalProjectionTest, FollowsTheAuthorsServerOverThreeTasks) {
  std::ifstream file(absl::StrCat(std::getenv("TRIBUTARY_SOURCE_DIR"),
                                  "/tests/aggregators/testdata/orthogonal_three_tasks.json"));
  const nlohmann::json run = nlohmann::json::parse(file);
  std::vector<ParamLayout::Tensor> tensors;
  for (const auto& layer : run["layers"]) {
    tensors.push_back({.name = layer["name"], .shape = {layer["out"], layer["in"]}});
  }
  const LayoutPtr layout = MakeLayout(tensors);
  const auto all = [&](const nlohmann::json& by_layer) {
    std::vector<float> values;
    for (const auto& layer : by_layer) {
      for (const float x : layer) values.push_back(x);
    }
    return MakeParams(layout, std::move(values));
  };
  const auto transform = MustMake(layout, {{"method", "sketch"},
                                           {"criterion", "ref"},
                                           {"energy", run["energy"]},
                                           {"energy_increment", run["energy_increment"]}});
  ParamVector model = all(run["initial"]);
  for (const auto& task : run["tasks"]) {
    ParamVector delta = all(task["trained"]);
    AddScaled(-1, model.values(), delta.values());
    AddScaled(1, Apply(*transform, delta).values(), model.values());
    EXPECT_THAT(model, ParamsNear(all(task["published"]), 2e-6));
    model = all(task["published"]);

    std::vector<double> sum;
    for (size_t l = 0; l < tensors.size(); ++l) {
      const std::vector<double> sketch = task["sketch"][l];
      double squares = 0;
      for (const double y : sketch) squares += y * y;
      const double rho = task["rho"][l];
      sum.insert(sum.end(), sketch.begin(), sketch.end());
      sum.push_back(squares / static_cast<double>(tensors[l].shape[1]) / (rho * rho));
    }
    ASSERT_THAT(Learn(*transform, sum), IsOk());
    const ParamVector& basis = *transform->State().vectors.at("basis");
    for (size_t l = 0; l < tensors.size(); ++l) {
      const auto dim = static_cast<size_t>(tensors[l].shape[1]);
      const auto directions = basis.View(tensors[l].name);
      EXPECT_EQ(directions.size() / dim, task["rank"][l]) << tensors[l].name;
      const std::vector<float> expected = task["projector"][l];
      for (size_t i = 0; i < dim * dim; ++i) {
        double p = 0;
        for (size_t v = 0; v < directions.size(); v += dim) {
          p += double{directions[v + i / dim]} * directions[v + i % dim];
        }
        ASSERT_NEAR(p, expected[i], 2e-5) << tensors[l].name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace tributary
