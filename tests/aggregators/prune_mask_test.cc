#include "aggregators/transform/prune_mask.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

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
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::tributary::test::CopyState;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::MakeParams;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;

absl::StatusOr<std::unique_ptr<UpdateTransform>> Make(const LayoutPtr& layout,
                                                      nlohmann::json options) {
  return TransformRegistry().Create({"prune_mask", std::move(options), {}},
                                    TransformDeps{.layout = layout});
}

std::unique_ptr<UpdateTransform> MustMake(const LayoutPtr& layout, nlohmann::json options) {
  auto made = Make(layout, std::move(options));
  EXPECT_THAT(made, IsOk());
  return *std::move(made);
}

std::vector<bool> Kept(const Mask& mask) {
  std::vector<bool> keep;
  for (int64_t i = 0; i < mask.size(); ++i) keep.push_back(mask.Keeps(i));
  return keep;
}

// What a transform of these options keeps after one exploration by `contributions` clients.
std::vector<bool> KeptBy(const LayoutPtr& layout, nlohmann::json options,
                         const std::vector<double>& sum, int64_t contributions = 1) {
  const auto transform = MustMake(layout, std::move(options));
  ParamVector model = RandomParams(layout, 1);
  EXPECT_THAT(transform->Learn(sum, contributions, model.trainable(), {}), IsOk());
  return Kept(*transform->mask());
}

std::vector<double> RandomSum(int64_t size, uint64_t seed) {
  Rng rng(seed);
  std::vector<double> sum(static_cast<size_t>(size));
  for (double& x : sum) x = rng.Exponential(1.0);
  return sum;
}

// The kept weights of one tensor.
int64_t CountIn(const ParamLayout& layout, const std::vector<bool>& keep, absl::string_view name) {
  const ParamLayout::Tensor& tensor = *layout.Find(name);
  return std::count(keep.begin() + tensor.offset, keep.begin() + tensor.offset + tensor.size, true);
}

const LayoutPtr kFour = MakeLayout({{.name = "w", .shape = {1, 4}}});
// θ_0 = (0, 1, −1, 0.5), θ_1 = (0.2, 1, −1.4, 0.5), θ_2 = (−0.2, 1.1, −1.2, 0.5).
const std::vector<double> kDeviations = {0.08, 0.01, 0.2, 0};

const LayoutPtr kMlp = MakeLayout({{.name = "fc1.weight", .shape = {12, 9}},
                                   {.name = "fc1.bias", .shape = {12}},
                                   {.name = "fc2.weight", .shape = {10, 12}},
                                   {.name = "fc2.bias", .shape = {10}},
                                   {.name = "fc3.weight", .shape = {4, 10}},
                                   {.name = "fc3.bias", .shape = {4}}});

TEST(PruneMaskTest, KeepsWhatExplorersMoved) {
  EXPECT_THAT(KeptBy(kFour, {}, kDeviations, 2), ElementsAre(true, true, true, false));
  EXPECT_THAT(KeptBy(kFour, {{"quantile", 0.5}}, kDeviations, 2),
              ElementsAre(true, false, true, false));
  EXPECT_THAT(KeptBy(kFour, {{"density", 0.5}}, kDeviations, 2),
              ElementsAre(true, false, true, false));
}

// Mean shifts (0, 0.05, −0.3, 0): agreements 0, 0.5, 0.9, and 0 for what did not move.
TEST(PruneMaskTest, AgreementIsWhereExplorersWentTheSameWay) {
  std::vector<double> sum = kDeviations;
  sum.insert(sum.end(), {0, 0.1, -0.6, 0});
  EXPECT_THAT(KeptBy(kFour, {{"score", "agreement"}, {"density", 0.25}}, sum, 2),
              ElementsAre(false, false, true, false));
  EXPECT_THAT(KeptBy(kFour, {{"score", "agreement"}, {"density", 0.5}}, sum, 2),
              ElementsAre(false, true, true, false));
}

TEST(PruneMaskTest, TensorsAreNormalisedOneByOneAndCutTogether) {
  const LayoutPtr layout =
      MakeLayout({{.name = "a", .shape = {1, 3}}, {.name = "b", .shape = {1, 3}}});
  const std::vector<double> sum = {0, 1, 2, 0, 0, 100};
  EXPECT_THAT(KeptBy(layout, {{"quantile", 0.5}}, sum),
              ElementsAre(false, true, true, false, false, true));
  EXPECT_THAT(KeptBy(layout, {{"quantile", 0.5}}, {0, 1e-6, 2e-6, 0, 0, 1e9}),
              ElementsAre(false, true, true, false, false, true))
      << "scale does not matter";
  // Medians 1 and 0, quartiles 0.5, 1.5 and 0, 50: −1, 0, 1 and 0, 0, 2. Ties: the first stays.
  EXPECT_THAT(KeptBy(layout, {{"quantile", 0.5}, {"normalization", "robust"}}, sum),
              ElementsAre(false, true, true, false, false, true));
  EXPECT_THAT(KeptBy(layout, {{"density", 0.34}, {"normalization", "none"}, {"floor", 0}}, sum),
              ElementsAre(false, true, true, false, false, true));
  EXPECT_THAT(KeptBy(layout, {{"density", 0.1}, {"normalization", "none"}, {"floor", 0}}, sum),
              ElementsAre(false, false, false, false, false, true));
}

TEST(PruneMaskTest, TheCountIsExactWhateverTheTies) {
  const LayoutPtr layout = MakeLayout({{.name = "w", .shape = {2, 500}}});
  for (const double quantile : {0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95}) {
    std::vector<double> sum = RandomSum(1000, 3);
    for (const double zeros : {0.0, 0.5, 0.999}) {
      std::fill_n(sum.begin(), static_cast<int64_t>(zeros * 1000), 0.0);
      const auto keep = KeptBy(layout, {{"quantile", quantile}}, sum);
      EXPECT_EQ(std::count(keep.begin(), keep.end(), true), std::lround((1 - quantile) * 1000))
          << quantile << " " << zeros;
    }
  }
}

TEST(PruneMaskTest, OfEqualScoresTheSmallerIndexStays) {
  EXPECT_THAT(KeptBy(kFour, {{"quantile", 0.5}}, {1, 1, 1, 1}),
              ElementsAre(true, true, false, false));
  EXPECT_THAT(KeptBy(kFour, {{"quantile", 0.5}}, {1, 5, 1, 1}),
              ElementsAre(true, true, false, false));
}

TEST(PruneMaskTest, BiasesAreKept) {
  std::vector<double> sum = RandomSum(kMlp->trainable_size(), 1);
  for (const char* bias : {"fc1.bias", "fc2.bias", "fc3.bias"}) {
    const ParamLayout::Tensor& tensor = *kMlp->Find(bias);
    std::fill_n(sum.begin() + tensor.offset, tensor.size, 0.0);
  }
  const auto keep = KeptBy(kMlp, {{"quantile", 0.9}}, sum);
  EXPECT_EQ(CountIn(*kMlp, keep, "fc1.bias"), 12);
  EXPECT_EQ(CountIn(*kMlp, keep, "fc3.bias"), 4);
  EXPECT_EQ(std::count(keep.begin(), keep.end(), true), 26 + 27) << "⌈0.1·268⌉ weights";
}

TEST(PruneMaskTest, EveryTensorKeepsItsFloorAndEveryLogitAnInput) {
  std::vector<double> sum = RandomSum(kMlp->trainable_size(), 1);
  sum[0] = 1e9;  // an outlier squeezes the rest of its tensor
  const ParamLayout::Tensor& last = *kMlp->Find("fc3.weight");
  for (int64_t i = 0; i < 10; ++i) sum[static_cast<size_t>(last.offset + i)] = 0;
  const auto keep = KeptBy(kMlp, {{"density", 0.2}, {"floor", 0.1}}, sum);
  EXPECT_EQ(CountIn(*kMlp, keep, "fc1.weight"), 11) << "⌈0.1·108⌉";
  EXPECT_EQ(std::count(keep.begin(), keep.end(), true), 26 + 54) << "⌈0.2·268⌉ all the same";
  for (int64_t row = 0; row < 4; ++row) {
    const auto begin = keep.begin() + last.offset + 10 * row;
    EXPECT_GE(std::count(begin, begin + 10, true), 1) << row;
  }
}

TEST(PruneMaskTest, ATensorWithoutASpreadIsKept) {
  const LayoutPtr layout =
      MakeLayout({{.name = "a", .shape = {1, 3}}, {.name = "b", .shape = {1, 3}}});
  for (const char* normalization : {"minmax", "robust"}) {
    EXPECT_THAT(
        KeptBy(layout, {{"density", 0.67}, {"normalization", normalization}}, {0, 0, 0, 1, 2, 3}),
        ElementsAre(true, true, true, false, true, true))
        << normalization;
  }
}

TEST(PruneMaskTest, TheControlsAreWhatTheirNamesSay) {
  const LayoutPtr layout = MakeLayout({{.name = "w", .shape = {1, 200}}});
  const std::vector<double> sum = RandomSum(200, 4);
  const auto kept = [&](nlohmann::json options) {
    options["density"] = 0.5;
    options["floor"] = 0.0;
    return KeptBy(layout, options, sum);
  };
  auto opposite = kept({{"score", "inverted"}});
  opposite.flip();
  EXPECT_EQ(opposite, kept({})) << "the other half, since no two are equal";

  const ParamVector model = RandomParams(layout, 1);
  const auto large = kept({{"score", "magnitude"}});
  double smallest_kept = 1e9, largest_pruned = 0;
  for (size_t i = 0; i < 200; ++i) {
    const double size = std::abs(model.values()[i]);
    (large[i] ? smallest_kept : largest_pruned) =
        large[i] ? std::min(smallest_kept, size) : std::max(largest_pruned, size);
  }
  EXPECT_GT(smallest_kept, largest_pruned);

  const auto random = kept({{"score", "random"}});
  EXPECT_EQ(random, kept({{"score", "random"}, {"seed", 1}}));
  EXPECT_NE(random, kept({{"score", "random"}, {"seed", 2}}));
  int64_t both = 0;
  for (size_t i = 0; i < 200; ++i) both += random[i] && large[i] ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(both), 50, 20);
}

TEST(PruneMaskTest, ClearsTheModelAndEveryDelta) {
  const auto transform = MustMake(kFour, {});
  EXPECT_EQ(transform->mask(), nullptr);
  Aggregate aggregate;
  aggregate.delta = MakeParams(kFour, {1, 2, 3, 4});
  ASSERT_THAT(transform->Apply(aggregate, {}), IsOk());
  EXPECT_THAT(aggregate.delta, ParamsNear({1, 2, 3, 4}, 0)) << "nothing is pruned yet";
  ParamVector model = MakeParams(kFour, {5, 6, 7, 8});
  ASSERT_THAT(transform->Learn(kDeviations, 2, model.trainable(), {}), IsOk());
  EXPECT_THAT(model, ParamsNear({5, 6, 7, 0}, 0));
  ASSERT_THAT(transform->Apply(aggregate, {}), IsOk());
  EXPECT_THAT(aggregate.delta, ParamsNear({1, 2, 3, 0}, 0));
}

TEST(PruneMaskTest, ANewMaskIsANewObject) {
  const auto transform = MustMake(kFour, {});
  ParamVector model(kFour);
  ASSERT_THAT(transform->Learn({1, 2, 3, 4}, 1, model.trainable(), {}), IsOk());
  const std::shared_ptr<const Mask> first = transform->mask();
  ASSERT_THAT(transform->Learn({4, 3, 2, 1}, 1, model.trainable(), {}), IsOk());
  EXPECT_THAT(Kept(*first), ElementsAre(false, true, true, true));
  EXPECT_THAT(Kept(*transform->mask()), ElementsAre(true, true, true, false));
}

TEST(PruneMaskTest, TheMaskIsTheSameAfterARestart) {
  for (const int64_t size : {23, 24, 25, 1000}) {
    const LayoutPtr layout = MakeLayout({{.name = "w", .shape = {1, size}}});
    const auto before = MustMake(layout, {{"density", 0.5}}), after = MustMake(layout, {});
    ParamVector model = RandomParams(layout, 1);
    ASSERT_THAT(before->Learn(RandomSum(size, 2), 1, model.trainable(), {}), IsOk());
    CopyState(before->State(), after->State());
    ASSERT_THAT(after->Restored(), IsOk());
    EXPECT_EQ(Kept(*after->mask()), Kept(*before->mask()));
  }
}

TEST(PruneMaskTest, RefusesARestoredStateThatIsNoMask) {
  const auto transform = MustMake(kFour, {});
  ParamVector& state = *transform->State().vectors.at("mask");
  for (const float bad : {0.5F, -1.0F, 16777216.0F, std::nanf("")}) {
    state = MakeParams(MakeLayout({{.name = "mask", .shape = {1}}}), {bad});
    EXPECT_THAT(transform->Restored(), StatusIs(absl::StatusCode::kDataLoss)) << bad;
    EXPECT_EQ(transform->mask(), nullptr);
  }
  state = ParamVector(MakeLayout({{.name = "mask", .shape = {2}}}));
  EXPECT_THAT(transform->Restored(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(PruneMaskTest, TheRequestSaysHowToExplore) {
  const auto plain = MustMake(kMlp, {{"exploration", {{"epochs", 7}, {"learning_rate", 0.5}}}});
  EXPECT_EQ(plain->collects()->kind, CollectKind::kExplore);
  EXPECT_EQ(plain->collects()->options_json, R"({"epochs":7,"learning_rate":0.5,"patience":2})");
  EXPECT_EQ(plain->collects()->layout->digest(), kMlp->digest()) << "a value for each parameter";
  const auto agreement = MustMake(kMlp, {{"score", "agreement"}});
  EXPECT_EQ(agreement->collects()->layout->size(), 2 * kMlp->size());
  EXPECT_EQ(agreement->collects()->layout->Find("fc1.weight.shift")->offset, kMlp->size());
}

TEST(PruneMaskTest, RefusesOptionsThatContradictOrAreOutOfRange) {
  const std::vector<std::pair<nlohmann::json, const char*>> bad = {
      {{{"quantile", 1.0}}, "quantile"},
      {{{"quantile", -0.1}}, "quantile"},
      {{{"density", 0.0}}, "density"},
      {{{"density", 0.04}}, "floor is 0.05"},
      {{{"quantile", 0.99}}, "floor is 0.05"},
      {{{"width", 0.5}}, "structured: true"},
      {{{"score", "taste"}}, "score"},
      {{{"normalization", "some"}}, "normalization"},
      {{{"exploration", {{"epochs", 0}}}}, "epochs"}};
  for (const auto& [options, field] : bad) {
    EXPECT_THAT(Make(nullptr, options).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
  EXPECT_THAT(Make(MakeLayout({{.name = "w", .shape = {4}}}), {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("biases are not pruned")));
}

TEST(PruneMaskTest, RefusesSumsThatAreNoExploration) {
  const auto transform = MustMake(kFour, {});
  ParamVector model = MakeParams(kFour, {5, 6, 7, 8});
  const auto learn = [&](const std::vector<double>& sum, int64_t contributions) {
    return transform->Learn(sum, contributions, model.trainable(), {});
  };
  EXPECT_THAT(learn({1, 2, 3}, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3 values; allowed: 4")));
  EXPECT_THAT(learn({1, 2, 3, 4}, 0), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(learn({1, 2, std::numeric_limits<double>::infinity(), 4}, 1),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("w is not finite")));
  EXPECT_THAT(transform->Learn({1, 2, 3, 4}, 1, {}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model has 0")));
  EXPECT_EQ(transform->mask(), nullptr);
  EXPECT_THAT(model, ParamsNear({5, 6, 7, 8}, 0));
}

// Logits of a network of linear layers with ReLU, of which `units` lists what each layer keeps; the
// rest does not exist.
std::vector<double> Logits(const ParamVector& model, const std::vector<std::vector<size_t>>& units,
                           std::vector<double> x) {
  const auto& tensors = model.layout()->tensors();
  std::vector<size_t> inputs(x.size());
  std::iota(inputs.begin(), inputs.end(), size_t{0});
  for (size_t l = 0; l < units.size(); ++l) {
    const auto weight = model.View(tensors[2 * l].name), bias = model.View(tensors[2 * l + 1].name);
    const auto fan_in = static_cast<size_t>(tensors[2 * l].shape[1]);
    std::vector<double> y;
    for (const size_t unit : units[l]) {
      double sum = bias[unit];
      for (size_t i = 0; i < inputs.size(); ++i) sum += weight[unit * fan_in + inputs[i]] * x[i];
      y.push_back(l + 1 < units.size() ? std::max(sum, 0.0) : sum);
    }
    x = y, inputs = units[l];
  }
  return x;
}

std::vector<size_t> KeptUnits(const ParamLayout& layout, const std::vector<bool>& keep,
                              absl::string_view name) {
  const ParamLayout::Tensor& bias = *layout.Find(name);
  std::vector<size_t> units;
  for (int64_t i = 0; i < bias.size; ++i) {
    if (keep[static_cast<size_t>(bias.offset + i)]) units.push_back(static_cast<size_t>(i));
  }
  return units;
}

TEST(PruneMaskStructuredTest, TheSmallerNetworkIsTheMaskedOne) {
  for (const char* score : {"deviation", "random", "inverted"}) {
    const auto transform = MustMake(kMlp, {{"structured", true}, {"width", 0.5}, {"score", score}});
    ParamVector model = RandomParams(kMlp, 2);
    ASSERT_THAT(transform->Learn(RandomSum(kMlp->trainable_size(), 3), 1, model.trainable(), {}),
                IsOk());
    const std::vector<bool> keep = Kept(*transform->mask());
    const std::vector<std::vector<size_t>> small = {KeptUnits(*kMlp, keep, "fc1.bias"),
                                                    KeptUnits(*kMlp, keep, "fc2.bias"),
                                                    KeptUnits(*kMlp, keep, "fc3.bias")};
    EXPECT_EQ(small[0].size(), 6U);
    EXPECT_EQ(small[1].size(), 5U);
    EXPECT_EQ(small[2].size(), 4U) << "logits stay";
    EXPECT_EQ(transform->mask()->count(), 6 * 9 + 6 + 5 * 6 + 5 + 4 * 5 + 4)
        << "and what stays is dense";
    std::vector<std::vector<size_t>> all;
    for (const size_t width : {12, 10, 4}) {
      all.emplace_back(width);
      std::iota(all.back().begin(), all.back().end(), size_t{0});
    }
    Rng rng(5);
    std::vector<double> x(9);
    for (double& value : x) value = rng.Normal();
    const std::vector<double> dense = Logits(model, all, x), gathered = Logits(model, small, x);
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(gathered[i], dense[i], 1e-9);
  }
}

TEST(PruneMaskStructuredTest, AFilterGoesWithAllThatItFeeds) {
  const LayoutPtr layout = MakeLayout({{.name = "conv1.weight", .shape = {2, 1, 2, 1}},
                                       {.name = "conv1.bias", .shape = {2}},
                                       {.name = "conv2.weight", .shape = {2, 2, 1, 2}},
                                       {.name = "fc.weight", .shape = {1, 6}}});
  // Filter 0 of conv1 and filter 1 of conv2 moved least.
  const std::vector<double> sum = {0.1, 0.2, 5, 6,  0, 0,        // conv1
                                   7,   8,   9, 10, 1, 2, 3, 4,  // conv2
                                   1,   2,   3, 4,  5, 6};       // fc: three pixels a channel
  const auto keep = KeptBy(layout, {{"structured", true}, {"width", 0.5}}, sum);
  EXPECT_THAT(keep, ElementsAre(false, false, true, true, false, true,                 //
                                false, false, true, true, false, false, false, false,  //
                                true, true, true, false, false, false));
}

TEST(PruneMaskStructuredTest, WithoutAWidthUnitsGoThatKeepTooLittle) {
  const LayoutPtr layout = MakeLayout(
      {{.name = "fc1.weight", .shape = {4, 5}}, {.name = "fc2.weight", .shape = {2, 4}}});
  // Half of fc1's weights stay: of its units all, most, one, none.
  std::vector<double> sum(28, 1);
  const std::vector<double> fc1 = {9, 9, 9, 9, 9, 8, 8, 8, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  std::copy(fc1.begin(), fc1.end(), sum.begin());
  sum[27] = 0;
  const auto units = [&](double threshold) {
    const auto keep = KeptBy(layout,
                             {{"structured", true},
                              {"quantile", 11.0 / 28},
                              {"unit_threshold", threshold},
                              {"floor", 0.0}},
                             sum);
    return std::vector<bool>{keep[0], keep[5], keep[10], keep[15]};
  };
  EXPECT_THAT(units(0.1), ElementsAre(true, true, true, false));
  EXPECT_THAT(units(0.5), ElementsAre(true, true, false, false));
  EXPECT_THAT(units(0.9), ElementsAre(true, false, false, false));
  EXPECT_THAT(units(1.0), ElementsAre(true, false, false, false));
}

TEST(PruneMaskStructuredTest, EveryLayerKeepsItsFloorOfUnits) {
  std::vector<double> sum = RandomSum(kMlp->trainable_size(), 1);
  const auto keep =
      KeptBy(kMlp, {{"structured", true}, {"unit_threshold", 1.0}, {"floor", 0.25}}, sum);
  EXPECT_EQ(CountIn(*kMlp, keep, "fc1.bias"), 3);
  EXPECT_EQ(CountIn(*kMlp, keep, "fc2.bias"), 3);
  EXPECT_EQ(CountIn(*kMlp, keep, "fc3.bias"), 4);
}

TEST(PruneMaskStructuredTest, RefusesModelsWhoseUnitsAreTied) {
  const LayoutPtr layout = MakeLayout({{.name = "conv1.weight", .shape = {8, 1, 3, 3}},
                                       {.name = "gn1.weight", .shape = {8}},
                                       {.name = "fc.weight", .shape = {2, 8}}});
  EXPECT_THAT(Make(layout, {{"structured", true}}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("prune_mask: structured"), HasSubstr("gn1.weight"))));
  EXPECT_THAT(Make(layout, {}), IsOk());
}

}  // namespace
}  // namespace tributary
