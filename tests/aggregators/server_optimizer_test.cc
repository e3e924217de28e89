// The server optimizers against steps done by hand. The numbers are chosen so that second
// moments are squares.
#include "aggregators/optimize/server_optimizer.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "aggregators/optimize/adaptive.h"
#include "aggregators/optimize/fedexp.h"
#include "aggregators/optimize/momentum.h"
#include "aggregators/optimize/outer_momentum.h"
#include "aggregators/optimize/sgd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;

// The step of a single coordinate.
float StepOf(ServerOptimizer& optimizer, float delta) {
  EXPECT_THAT(optimizer.Step({&delta, 1}, {}), IsOk());
  return delta;
}

// The one parameter after each step, from 0.
template <typename Optimizer>
std::vector<float> Walk(const typename Optimizer::Options& options, std::vector<float> deltas) {
  auto optimizer = Optimizer::Create(options, {.layout = FlatLayout(1)}).value();
  std::vector<float> walk;
  float param = 0;
  for (const float delta : deltas) {
    param += StepOf(*optimizer, delta);
    walk.push_back(param);
  }
  return walk;
}

TEST(ServerOptimizerTest, SgdAddsTheDeltaTimesTheRate) {
  EXPECT_THAT(Walk<SgdOptimizer>({}, {1, -3}), ElementsAre(1, -2));
  EXPECT_THAT(Walk<SgdOptimizer>({.learning_rate = 0.5}, {1, -3}), ElementsAre(0.5, -1));
}

// v: 1, 0.5, −0.75
TEST(ServerOptimizerTest, MomentumKeepsAVelocity) {
  EXPECT_THAT(Walk<MomentumOptimizer>({.learning_rate = 2, .momentum = 0.5}, {1, 0, -1}),
              ElementsAre(2, 3, 1.5));
}

// v: 1, (beside: 1), 0.5
TEST(ServerOptimizerTest, AStepBesideTheMomentumTakesNothingAndLeavesNothing) {
  auto optimizer =
      MomentumOptimizer::Create({.learning_rate = 2, .momentum = 0.5}, {.layout = FlatLayout(1)})
          .value();
  EXPECT_EQ(StepOf(*optimizer, 1), 2);
  float beside = 8;
  ASSERT_THAT(optimizer->StepBesideMomentum({&beside, 1}, {}), IsOk());
  EXPECT_EQ(beside, 16);
  EXPECT_EQ(StepOf(*optimizer, 0), 1);
}

TEST(ServerOptimizerTest, MomentumZeroIsSgd) {
  EXPECT_THAT(Walk<MomentumOptimizer>({.learning_rate = 0.5, .momentum = 0}, {1, -3, 2}),
              ElementsAre(0.5, -1, 0));
}

// v from τ² = 9: 9 + 16 = 5², 25 + 144 = 13², 169 + 7056 = 85²;
// steps 4 / (5 + 3), 12 / (13 + 3), −84 / (85 + 3).
TEST(ServerOptimizerTest, AdagradAddsUpSquares) {
  const std::vector<double> expected = {0.5, 1.25, 1.25 - 84.0 / 88.0};
  EXPECT_THAT(Walk<AdagradOptimizer>({.learning_rate = 1, .beta1 = 0, .tau = 3}, {4, 12, -84}),
              Pointwise(FloatNear(1e-6F), expected));
}

// v from τ² = 4: (4 + 196) / 2 = 10², (100 + 4900) / 2 = 50², 2500 / 2 = 1250;
// m: 7, (7 − 70) / 2 = −31.5, −15.75.
TEST(ServerOptimizerTest, AdamAveragesSquaresWithoutBiasCorrection) {
  const double first = 7.0 / 12.0, second = first - 31.5 / 52.0;
  const std::vector<double> expected = {first, second, second - 15.75 / (std::sqrt(1250.0) + 2)};
  EXPECT_THAT(
      Walk<AdamOptimizer>({.learning_rate = 1, .beta1 = 0.5, .beta2 = 0.5, .tau = 2}, {14, -70, 0}),
      Pointwise(FloatNear(1e-6F), expected));
}

// v from τ² = 4: 4 + 64 / 2 = 6² (up), 36 − 4 / 2 = 34 (down); m: 4, (4 − 2) / 2 = 1.
TEST(ServerOptimizerTest, YogiMovesTheSecondMomentTowardsTheSquareByItsSize) {
  const std::vector<double> expected = {0.5, 0.5 + 1 / (std::sqrt(34.0) + 2)};
  EXPECT_THAT(
      Walk<YogiOptimizer>({.learning_rate = 1, .beta1 = 0.5, .beta2 = 0.5, .tau = 2}, {8, -2}),
      Pointwise(FloatNear(1e-6F), expected));
}

// Δ² = v = τ² = 4: sign(0) = 0, so v stays 4; m = 1; 1 / (2 + 2).
TEST(ServerOptimizerTest, YogiStaysWhereTheSquareIsTheSecondMoment) {
  EXPECT_THAT(Walk<YogiOptimizer>({.learning_rate = 1, .beta1 = 0.5, .beta2 = 0.5, .tau = 2}, {2}),
              ElementsAre(0.25));
}

// The paper's figures after each of the first rounds of a run with 16 clients: the mean of the
// updates' squared norms and their mean's squared norm. The rate is half of their quotient.
TEST(ServerOptimizerTest, FedExpGoesFurtherTheMoreUpdatesDiffer) {
  auto optimizer = FedExpOptimizer::Create({.epsilon = 1e-9}, {.layout = FlatLayout(1)}).value();
  const std::vector<std::tuple<double, double, double>> rounds = {
      {19.61277821, 2.316863381, 4.232614313},
      {18.50199091, 0.6641562036, 13.92894533},
      {17.26118054, 2.101492407, 4.106886251}};
  for (const auto& [updates, mean, expected] : rounds) {
    float delta = 2;
    ASSERT_THAT(
        optimizer->Step({&delta, 1}, {.squared_norm = mean, .update_squared_norms = updates}),
        IsOk());
    EXPECT_NEAR(optimizer->rate(), expected, 1e-7);
    EXPECT_FLOAT_EQ(delta, static_cast<float>(2 * expected));
  }
}

TEST(ServerOptimizerTest, FedExpNeverGoesLessFarThanTheMean) {
  auto optimizer = FedExpOptimizer::Create({.epsilon = 1}, {.layout = FlatLayout(1)}).value();
  for (const auto& [updates, mean] : std::vector<std::pair<double, double>>{
           {4, 1.5} /* equal updates and more */, {1, 1}, {0, 0}, {5, 1.5} /* exactly 1 */}) {
    float delta = 3;
    ASSERT_THAT(
        optimizer->Step({&delta, 1}, {.squared_norm = mean, .update_squared_norms = updates}),
        IsOk());
    EXPECT_EQ(delta, 3) << updates << " " << mean;
  }
}

// From 10 to 6: m = −4 / 2.
TEST(ServerOptimizerTest, OuterMomentumTakesLessOfStaleDeltas) {
  const DeltaOrigin stale = {.mean_staleness = 1};
  for (const auto& [options, expected] :
       std::vector<std::pair<OuterMomentumOptions, float>>{{{}, -2},
                                                           {{.clip_value = 1}, -1},
                                                           {{.clip_norm = 1}, -1},
                                                           {{.penalty = "none"}, -4},
                                                           {{.learning_rate = 3}, -6}}) {
    auto optimizer = OuterMomentumOptimizer::Create(options, {.layout = FlatLayout(1)}).value();
    float delta = -4;
    ASSERT_THAT(optimizer->Step({&delta, 1}, stale), IsOk());
    EXPECT_EQ(delta, expected);
  }
}

// m: 4, 2 + 1, clipped to 2, then 1 + 0.
TEST(ServerOptimizerTest, OuterMomentumRemembersWhatIsLeftByTheClip) {
  EXPECT_THAT(Walk<OuterMomentumOptimizer>({.momentum = 0.5}, {4, 1, 0}), ElementsAre(4, 7, 8.5));
  EXPECT_THAT(Walk<OuterMomentumOptimizer>({.momentum = 0.5, .clip_value = 2}, {4, 1, 0}),
              ElementsAre(2, 4, 5));
}

TEST(ServerOptimizerTest, OuterMomentumWithoutMomentumIsSgd) {
  const std::vector<float> deltas = {1, -3, 2};
  EXPECT_EQ(Walk<OuterMomentumOptimizer>({.learning_rate = 0.5, .momentum = 0}, deltas),
            Walk<SgdOptimizer>({.learning_rate = 0.5}, deltas));
}

// (3, 4) has norm 5; the second tensor has not more than 1.
TEST(ServerOptimizerTest, OuterMomentumClipsTheNormOfEachTensor) {
  const LayoutPtr layout =
      test::MakeLayout({{.name = "a", .shape = {2}},
                        {.name = "b", .shape = {2}},
                        {.name = "c", .shape = {1}, .kind = TensorKind::kBuffer}});
  auto optimizer = OuterMomentumOptimizer::Create({.clip_norm = 1}, {.layout = layout}).value();
  std::vector<float> delta = {3, 4, 0.5, -0.5};
  ASSERT_THAT(optimizer->Step(absl::MakeSpan(delta), {}), IsOk());
  EXPECT_THAT(delta, Pointwise(FloatNear(1e-6F), std::vector<float>{0.6F, 0.8F, 0.5F, -0.5F}));
}

// F(w) = w²/2 with deltas that are one step old and a rate with which such a momentum diverges.
TEST(ServerOptimizerTest, AClippedOuterMomentumStaysBoundedWhereItWouldDiverge) {
  const auto largest = [](std::optional<double> clip) {
    auto optimizer =
        OuterMomentumOptimizer::Create({.momentum = 0.9, .penalty = "none", .clip_value = clip},
                                       {.layout = FlatLayout(1)})
            .value();
    float w = 1, before = 1, furthest = 1;
    for (int i = 0; i < 200; ++i) {
      const float step = StepOf(*optimizer, -std::exchange(before, w));
      w += step;
      furthest = std::max(furthest, std::abs(w));
    }
    return furthest;
  };
  EXPECT_GT(largest(std::nullopt), 1e6F);
  EXPECT_LT(largest(0.1), 10.0F);
}

// v: 3, 4 → projected to 0, 4; steps of zero deltas are then β·v.
TEST(ServerOptimizerTest, ANewEpochProjectsAMomentum) {
  const auto project = [](absl::Span<float> values) {
    values[0] = 0;
    return absl::OkStatus();
  };
  const auto step_after = [&](ServerOptimizer& optimizer) {
    std::vector<float> delta = {3, 4}, zero = {0, 0};
    EXPECT_THAT(optimizer.Step(absl::MakeSpan(delta), {}), IsOk());
    EXPECT_THAT(optimizer.BeginEpoch(project), IsOk());
    EXPECT_THAT(optimizer.Step(absl::MakeSpan(zero), {}), IsOk());
    return zero;
  };
  const OptimizerDeps deps = {.layout = FlatLayout(2)};
  EXPECT_THAT(step_after(*MomentumOptimizer::Create({.momentum = 0.5}, deps).value()),
              ElementsAre(0, 2));
  EXPECT_THAT(step_after(*OuterMomentumOptimizer::Create({.momentum = 0.5}, deps).value()),
              ElementsAre(0, 2));
  EXPECT_THAT(step_after(*AdamOptimizer::Create({}, deps).value()), ElementsAre(0, 0));
}

TEST(ServerOptimizerTest, AFailedProjectionIsTold) {
  auto optimizer = MomentumOptimizer::Create({}, {.layout = FlatLayout(1)}).value();
  StepOf(*optimizer, 1);
  EXPECT_THAT(optimizer->BeginEpoch([](absl::Span<float>) { return absl::InternalError("no"); }),
              StatusIs(absl::StatusCode::kInternal));
}

TEST(ServerOptimizerTest, RateIsTheLearningRate) {
  EXPECT_EQ(SgdOptimizer::Create({.learning_rate = 0.3}, {}).value()->rate(), 0.3);
  EXPECT_EQ(YogiOptimizer::Create({.learning_rate = 0.3}, {}).value()->rate(), 0.3);
}

TEST(ServerOptimizerTest, RefusesStateOfAnotherLayout) {
  auto optimizer = MomentumOptimizer::Create({}, {.layout = FlatLayout(2)}).value();
  *optimizer->State().vectors.at("velocity") = ParamVector(FlatLayout(3));
  std::vector<float> delta = {1, 2};
  EXPECT_THAT(optimizer->Step(absl::MakeSpan(delta), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("velocity")));
  EXPECT_THAT(delta, ElementsAre(1, 2));
}

TEST(ServerOptimizerTest, RefusesOptionsOutOfRange) {
  const std::vector<std::tuple<const char*, const char*, double>> bad = {
      {"sgd", "learning_rate", 0},
      {"momentum", "momentum", 1},
      {"momentum", "momentum", -0.1},
      {"adam", "beta1", 1},
      {"adam", "beta2", 1},
      {"adam", "tau", 0},
      {"adagrad", "learning_rate", 0},
      {"yogi", "beta2", -1},
      {"adagrad", "beta2", 0.9},
      {"fedexp", "epsilon", 0},
      {"outer_momentum", "momentum", 1},
      {"outer_momentum", "clip_value", 0},
      {"outer_momentum", "clip_norm", -1},
      {"hypergradient", "bound", 0.5},
      {"hypergradient", "gain", 0}};
  for (const auto& [name, field, value] : bad) {
    EXPECT_THAT(OptimizerRegistry().Create({name, {{field, value}}, {}}, OptimizerDeps{}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

TEST(ServerOptimizerTest, RefusesTwoClips) {
  EXPECT_THAT(OptimizerRegistry().Create(
                  {"outer_momentum", {{"clip_value", 1}, {"clip_norm", 1}}, {}}, OptimizerDeps{}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("clip_norm")));
}

}  // namespace
}  // namespace tributary
