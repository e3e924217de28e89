#include "aggregators/combine/fedavg.h"

#include <cmath>
#include <limits>
#include <utility>

#include "common/codec/value_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::MakeParams;
using ::tributary::test::MakeUpdate;
using ::tributary::test::ParamsNear;
using ::tributary::test::StatusIs;

std::unique_ptr<FedAvgAggregator> Make(const LayoutPtr& layout, const char* weights) {
  return FedAvgAggregator::Create({.weights = weights}, {.layout = layout}).value();
}

std::unique_ptr<FedAvgAggregator> MakeGiven(const LayoutPtr& layout) {
  const UpdateWeightOptions options{.weights = "examples", .staleness = PolynomialStaleness()};
  return FedAvgAggregator::Create(options, {.layout = layout, .given_coefficients = true}).value();
}

Update Of(const LayoutPtr& layout, std::vector<float> values, int64_t num_examples) {
  return MakeUpdate(MakeParams(layout, std::move(values)),
                    {.work_order = 1, .num_examples = num_examples, .local_steps = 1});
}

// By hand: deltas (1, −2), (5, 2), buffers 10 and 20, with 1 and 3 examples.
TEST(FedAvgTest, WeighsByExamples) {
  const LayoutPtr layout = FlatLayout(2, 1);
  const auto aggregator = Make(layout, "examples");
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {1, -2, 10}, 1), {}), IsOk());
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {5, 2, 20}, 3), {}), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const Aggregate mean, std::move(*aggregator).Finish());
  EXPECT_THAT(mean.delta, ParamsNear({4, 1, 17.5}, 0));
  EXPECT_EQ(mean.updates, 2);
  EXPECT_EQ(mean.num_examples, 4);
  EXPECT_EQ(mean.weight, 4.0);
}

TEST(FedAvgTest, WhatAnUpdateMayHoldDoesNotOverflow) {
  const LayoutPtr layout = FlatLayout(1, 1);
  const float largest = std::nextafter(kValueLimit, 0.0F);
  for (const char* weights : {"examples", "uniform"}) {
    const auto aggregator = Make(layout, weights);
    for (int i = 0; i < 100; ++i) {
      ASSERT_THAT(aggregator->Accumulate(Of(layout, {largest, -largest}, kCountLimit), {}), IsOk());
    }
    TRIB_ASSERT_OK_AND_ASSIGN(const Aggregate mean, std::move(*aggregator).Finish());
    EXPECT_THAT(mean.delta.values()[0], ::testing::FloatNear(largest, 1e-5F * largest));
    EXPECT_THAT(mean.delta.values()[1], ::testing::FloatNear(-largest, 1e-5F * largest));
  }
}

TEST(FedAvgTest, WeighsUniformly) {
  const LayoutPtr layout = FlatLayout(2, 1);
  const auto aggregator = Make(layout, "uniform");
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {1, -2, 10}, 1), {}), IsOk());
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {5, 2, 20}, 3), {}), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const Aggregate mean, std::move(*aggregator).Finish());
  EXPECT_THAT(mean.delta, ParamsNear({3, 0, 15}, 0));
  EXPECT_EQ(mean.num_examples, 4);
  EXPECT_EQ(mean.weight, 2.0);
}

// By hand: weights 4·1 and 8·(1 + 3)^(−0.5) = 4.
TEST(FedAvgTest, StalenessDampsTheWeightAndKeepsAMean) {
  const LayoutPtr layout = FlatLayout(1, 1);
  const UpdateWeightOptions options{.weights = "examples", .staleness = PolynomialStaleness()};
  const auto aggregator = FedAvgAggregator::Create(options, {.layout = layout}).value();
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {1, 10}, 4), {.staleness = 0}), IsOk());
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {3, 20}, 8), {.staleness = 3}), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const Aggregate mean, std::move(*aggregator).Finish());
  EXPECT_THAT(mean.delta, ParamsNear({2, 15}, 0));
  EXPECT_EQ(mean.weight, 8.0);
  EXPECT_EQ(mean.num_examples, 12);
}

TEST(FedAvgTest, GivenCoefficientsReplaceExamplesAndStaleness) {
  const LayoutPtr layout = FlatLayout(2, 1);
  const auto aggregator = MakeGiven(layout);
  ASSERT_THAT(
      aggregator->Accumulate(Of(layout, {1, -2, 10}, 1), {.staleness = 3, .coefficient = 0.25}),
      IsOk());
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {4, 2, 20}, 900), {.coefficient = 2}), IsOk());
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {9, 9, 30}, 1), {.coefficient = 0}), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const Aggregate sum, std::move(*aggregator).Finish());
  EXPECT_THAT(sum.delta, ParamsNear({8.25, 3.5, 20}, 0)) << "Σ c·delta; buffers: the plain mean";
  EXPECT_EQ(sum.updates, 3);
  EXPECT_EQ(sum.weight, 2.25);
}

TEST(FedAvgTest, CoefficientsThatAreAllZeroMakeNoStep) {
  const LayoutPtr layout = FlatLayout(1, 1);
  const auto aggregator = MakeGiven(layout);
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {5, 7}, 1), {.coefficient = 0}), IsOk());
  const auto restored = MakeGiven(layout);
  ASSERT_THAT(restored->Restore(aggregator->Serialize()), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const Aggregate sum, std::move(*restored).Finish());
  EXPECT_THAT(sum.delta, ParamsNear({0, 7}, 0));
}

TEST(FedAvgTest, RefusesBadCoefficientsAndSaysWhose) {
  const LayoutPtr layout = FlatLayout(1);
  const auto aggregator = MakeGiven(layout);
  const std::string before = aggregator->Serialize();
  for (const double bad :
       {-0.1, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_THAT(
        aggregator->Accumulate(Of(layout, {1}, 1), {.client = ClientId("eve"), .coefficient = bad}),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(HasSubstr("eve"), HasSubstr("coefficient"))));
    EXPECT_EQ(aggregator->Serialize(), before);
  }
}

TEST(FedAvgTest, OneUpdateIsItsOwnMean) {
  const LayoutPtr layout = FlatLayout(3);
  const auto aggregator = Make(layout, "examples");
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {0.5F, -0.25F, 8}, 600), {}), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const Aggregate mean, std::move(*aggregator).Finish());
  EXPECT_THAT(mean.delta, ParamsNear({0.5F, -0.25F, 8}, 0));
}

TEST(FedAvgTest, RefusesBadWeightsAndSaysWhose) {
  const LayoutPtr layout = FlatLayout(1);
  for (const char* weights : {"examples", "uniform"}) {
    const auto aggregator = Make(layout, weights);
    for (const int64_t examples : {int64_t{0}, int64_t{-5}, std::numeric_limits<int64_t>::max(),
                                   std::numeric_limits<int64_t>::min()}) {
      EXPECT_THAT(aggregator->Accumulate(Of(layout, {1}, examples), {.client = ClientId("eve")}),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           AllOf(HasSubstr("eve"), HasSubstr("num_examples"))));
    }
  }
}

TEST(FedAvgTest, MergesOnlyWithItsLike) {
  const LayoutPtr layout = FlatLayout(2);
  const auto examples = Make(layout, "examples");
  EXPECT_THAT(examples->MergeFrom(*Make(layout, "uniform")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("weights")));
  EXPECT_THAT(examples->MergeFrom(*MakeGiven(layout)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("weights")));
  EXPECT_THAT(examples->MergeFrom(*Make(FlatLayout(3), "examples")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("layout")));
}

// (1·25 + 3·1) / 4; with coefficients 0.5·25 + 2·1.
TEST(FedAvgTest, CombinesSquaredNormsAsItCombinesDeltas) {
  const LayoutPtr layout = FlatLayout(2);
  for (const auto& [given, expected] : {std::pair(false, 7.0), std::pair(true, 14.5)}) {
    for (const bool wanted : {true, false}) {
      const auto aggregator =
          FedAvgAggregator::Create(
              {}, {.layout = layout, .given_coefficients = given, .squared_norms = wanted})
              .value();
      ASSERT_THAT(aggregator->Accumulate(Of(layout, {3, 4}, 1), {.coefficient = 0.5}), IsOk());
      ASSERT_THAT(aggregator->Accumulate(Of(layout, {0, -1}, 3), {.coefficient = 2}), IsOk());
      EXPECT_EQ(std::move(*aggregator).Finish()->squared_norms, wanted ? expected : 0);
    }
  }
}

TEST(FedAvgTest, RestoresOnlyItsLike) {
  const LayoutPtr layout = FlatLayout(2);
  const std::string saved = Make(layout, "examples")->Serialize();
  EXPECT_THAT(Make(layout, "uniform")->Restore(saved), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Make(FlatLayout(1, 1), "examples")->Restore(saved),
              StatusIs(absl::StatusCode::kDataLoss));
  std::string other_version = saved;
  other_version[3] = '1';
  EXPECT_THAT(Make(layout, "examples")->Restore(other_version),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("version")));
}

TEST(FedAvgTest, RestoreRefusesCountsThatContradictOneAnother) {
  const LayoutPtr layout = FlatLayout(2);
  const auto aggregator = Make(layout, "examples");
  ASSERT_THAT(aggregator->Accumulate(Of(layout, {1, 2}, 5), {}), IsOk());
  const std::string good = aggregator->Serialize();
  constexpr size_t kUpdates = 37, kExamples = 45, kWeight = 53, kSquaredNorms = 61;
  const auto with = [&good](size_t offset, auto value) {
    std::string bytes = good;
    bytes.replace(offset, sizeof(value), reinterpret_cast<const char*>(&value), sizeof(value));
    return bytes;
  };
  for (const std::string& bad :
       {with(kUpdates, int64_t{-1}), with(kUpdates, int64_t{0}), with(kUpdates, int64_t{6}),
        with(kExamples, int64_t{0}), with(kWeight, 0.0), with(kWeight, -1.0),
        with(kWeight, std::numeric_limits<double>::quiet_NaN()),
        with(kWeight, std::numeric_limits<double>::infinity()), with(kSquaredNorms, -1.0),
        with(kSquaredNorms, std::numeric_limits<double>::infinity())}) {
    EXPECT_THAT(aggregator->Restore(bad),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("contradict")));
    EXPECT_EQ(aggregator->Serialize(), good);
  }
  EXPECT_THAT(aggregator->Restore(good), IsOk());
}

TEST(FedAvgTest, RefusesUnknownWeights) {
  EXPECT_THAT(
      AggregatorRegistry().Create({"fedavg", {{"weights", "exmples"}}, {}}, AggregatorDeps{}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("examples")));
}

}  // namespace
}  // namespace tributary
