// The server optimizers against steps done by hand. The numbers are chosen so that second
// moments are squares.
#include "aggregators/optimize/server_optimizer.h"

#include <cmath>
#include <vector>

#include "aggregators/optimize/adaptive.h"
#include "aggregators/optimize/momentum.h"
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
  EXPECT_THAT(optimizer.Step({&delta, 1}), IsOk());
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
  ASSERT_THAT(optimizer->StepBesideMomentum({&beside, 1}), IsOk());
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

TEST(ServerOptimizerTest, RateIsTheLearningRate) {
  EXPECT_EQ(SgdOptimizer::Create({.learning_rate = 0.3}, {}).value()->rate(), 0.3);
  EXPECT_EQ(YogiOptimizer::Create({.learning_rate = 0.3}, {}).value()->rate(), 0.3);
}

TEST(ServerOptimizerTest, RefusesStateOfAnotherLayout) {
  auto optimizer = MomentumOptimizer::Create({}, {.layout = FlatLayout(2)}).value();
  *optimizer->State().vectors.at("velocity") = ParamVector(FlatLayout(3));
  std::vector<float> delta = {1, 2};
  EXPECT_THAT(optimizer->Step(absl::MakeSpan(delta)),
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
      {"adagrad", "beta2", 0.9}};
  for (const auto& [name, field, value] : bad) {
    EXPECT_THAT(OptimizerRegistry().Create({name, {{field, value}}, {}}, OptimizerDeps{}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

}  // namespace
}  // namespace tributary
