// Two clients and one module [3, 2], small enough for paper; every number was checked in exact
// rational arithmetic.
//
//   B_1 = [1; 2; 0]            A_1 = [3 -1]           10 examples
//   B_2 = [1 0; 0 1; 1 1]      A_2 = [1 2; -1 0]      30 examples
#include <cmath>
#include <vector>

#include "aggregators/lora/delivery.h"
#include "aggregators/lora/low_rank_products.h"
#include "aggregators/lora/product_svd.h"
#include "aggregators/lora/recompression.h"
#include "common/lora/adapter_start.h"
#include "common/staleness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregators/lora/adapters.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::Combine;
using test::Combined;
using test::DepsFor;
using test::Distance;
using test::Factors;
using test::Plus;
using test::ProductOf;
using test::Rows;
using test::SquaredSize;
using test::Unflat;
using test::UpdateOf;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::SizeIs;

const Rows kB1 = {{1}, {2}, {0}}, kA1 = {{3, -1}};
const Rows kB2 = {{1, 0}, {0, 1}, {1, 1}}, kA2 = {{1, 2}, {-1, 0}};
// The first rank of client 2.
const Rows kFirstB2 = {{1}, {0}, {1}}, kFirstA2 = {{1, 2}};

// At equal scale 2.
const Rows kSum = {{3, 2.5}, {1.5, -1}, {0, 3}};
// Of client 1 and the first rank of client 2, at scale 1.
const Rows kRankOneSum = {{1.5, 1.25}, {1.5, -0.5}, {0.75, 1.5}};

std::vector<AdapterUpdate> Clients(double scale1, double scale2, double weight1 = 10,
                                   double weight2 = 30) {
  return {UpdateOf(1, weight1, Factors(kB1, kA1), scale1),
          UpdateOf(2, weight2, Factors(kB2, kA2), scale2)};
}

std::vector<AdapterUpdate> RankOneClients() {
  return {UpdateOf(1, 10, Factors(kB1, kA1)), UpdateOf(2, 30, Factors(kFirstB2, kFirstA2))};
}

LowRank StackedSum() {
  return Combine("lora_stacking", DepsFor(3, 2), Clients(2, 2)).value().delta.at("w");
}

constexpr double kTolerance = 1e-6;

TEST(LoraOracleTest, O1StackingAtEqualScale) {
  const LowRank stack = StackedSum();
  EXPECT_EQ(Unflat(stack.b, 3), (Rows{{1, 1, 0}, {2, 0, 1}, {0, 1, 1}}));
  EXPECT_EQ(Unflat(stack.a, 2), (Rows{{1.5, -0.5}, {1.5, 3}, {-1.5, 0}}));
  EXPECT_EQ(ProductOf(stack), kSum);
}

// One scale for all, the sum of α by the sum of r, is off by 1.56.
TEST(LoraOracleTest, O2StackingAtUnequalScale) {
  const LowRank stack =
      Combine("lora_stacking", DepsFor(3, 2), Clients(2, 1)).value().delta.at("w");
  EXPECT_EQ(Unflat(stack.a, 2), (Rows{{1.5, -0.5}, {0.75, 1.5}, {-0.75, 0}}));
  EXPECT_EQ(ProductOf(stack), (Rows{{2.25, 1}, {2.25, -1}, {0, 1.5}}));
  const Rows one_scale = {{2, 5.0 / 3}, {1, -2.0 / 3}, {0, 2}};
  EXPECT_NEAR(Distance(ProductOf(stack), one_scale), 1.5590239, 1e-7);
}

TEST(LoraOracleTest, O3WeightsStandInOneFactor) {
  const Rows on_both = {{1.5, 2.125}, {-0.375, -0.25}, {0, 2.25}};
  EXPECT_GT(Distance(ProductOf(StackedSum()), on_both), 2);
}

TEST(LoraOracleTest, O4ZeroPadding) {
  const LowRank mean =
      Combine("lora_zero_padding", DepsFor(3, 2), Clients(2, 2)).value().start.at("w");
  EXPECT_EQ(Unflat(mean.b, 2), (Rows{{2, 0}, {1, 1.5}, {1.5, 1.5}}));
  EXPECT_EQ(Unflat(mean.a, 2), (Rows{{1.5, 1.25}, {-0.75, 0}}));
  EXPECT_EQ(ProductOf(mean), (Rows{{3, 2.5}, {0.375, 1.25}, {1.125, 1.875}}));
  EXPECT_DOUBLE_EQ(SquaredSize(Plus(ProductOf(mean), kSum, -1)), 567.0 / 64);
}

TEST(LoraOracleTest, O5Average) {
  const LowRank mean =
      Combine("lora_average", DepsFor(3, 2, 1, 1), RankOneClients()).value().start.at("w");
  EXPECT_EQ(Unflat(mean.b, 1), (Rows{{1}, {0.5}, {0.75}}));
  EXPECT_EQ(Unflat(mean.a, 2), (Rows{{1.5, 1.25}}));
  EXPECT_DOUBLE_EQ(SquaredSize(Plus(ProductOf(mean), kRankOneSum, -1)), 585.0 / 256);
}

TEST(LoraOracleTest, O6SingularValuesOfTheSum) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ProductSvd svd, SvdOfProduct(StackedSum()));
  EXPECT_THAT(svd.values, ElementsAre(DoubleNear(4.5, 1e-12), DoubleNear(std::sqrt(7.25), 1e-12)));
  EXPECT_NEAR(std::fabs(svd.right[0]), 2 / std::sqrt(13.0), 1e-12);
  EXPECT_NEAR(std::fabs(svd.right[1]), 3 / std::sqrt(13.0), 1e-12);
  const Rows first = ProductOf(svd.Part(0, 1));
  EXPECT_LT(Distance(first, {{27.0 / 13, 81.0 / 26}, {0, 0}, {18.0 / 13, 27.0 / 13}}), kTolerance);
  EXPECT_NEAR(SquaredSize(Plus(first, kSum, -1)), 29.0 / 4, kTolerance);
  EXPECT_LT(Distance(ProductOf(svd.Part(0, 2)), kSum), kTolerance);
}

TEST(LoraOracleTest, O6EnergyKept) {
  for (const auto& [share, rank] : {std::pair{0.7, 1}, {0.8, 2}}) {
    const auto policy = RankPolicyRegistry().Create({"energy", {{"share", share}}, {}}).value();
    const std::vector<double> values = {4.5, std::sqrt(7.25)};
    EXPECT_THAT(policy->Ranks({{.rows = 3, .columns = 2, .values = values}}), ElementsAre(rank));
  }
  const auto policy = RankPolicyRegistry().Create({"fixed", {{"rank", 1}}, {}}).value();
  TRIB_ASSERT_OK_AND_ASSIGN(const Recompression parts, Recompress({{"w", StackedSum()}}, *policy));
  const RecompressedModule& part = parts.at("w");
  EXPECT_NEAR(part.kept_energy / (part.kept_energy + part.tail_energy), 20.25 / 27.5, 1e-12);
  EXPECT_NEAR(part.tail_energy, 7.25, 1e-12);
}

TEST(LoraOracleTest, O6ErrorFeedbackSendsTheRestNextTime) {
  LoraDeliveryOptions options{.delivery = "recompressed"};
  options.rank = {.name = "fixed", .options = {{"rank", 1}}, .position = {}};
  const auto delivery = LoraDelivery::Create(options).value();
  TRIB_ASSERT_OK_AND_ASSIGN(const Delivered first, delivery->Deliver({{"w", StackedSum()}}));
  EXPECT_EQ(first.modules.at("w").factors.rank, 1);
  EXPECT_NEAR(first.tail_energy, 7.25, 1e-12);
  EXPECT_EQ(first.dropped_energy, 0);
  TRIB_ASSERT_OK_AND_ASSIGN(const Delivered second, delivery->Deliver({}));
  EXPECT_THAT(delivery->tail(), SizeIs(0));
  const Rows sent = Plus(ProductOf(first.modules.at("w")), ProductOf(second.modules.at("w")));
  EXPECT_LT(Distance(sent, kSum), kTolerance);
}

TEST(LoraOracleTest, O7StalenessWithAndWithoutNormalising) {
  const auto staleness =
      StalenessRegistry().Create({"polynomial", {{"exponent", 0.5}}, {}}).value();
  LoraDeps deps = DepsFor(3, 2);
  const double fresh = staleness->At(0), stale = staleness->At(3);
  EXPECT_LT(Distance(Combined("lora_stacking", deps, Clients(2, 2, 10 * fresh, 30 * stale)),
                     {{3.6, 1.6}, {3.6, -1.6}, {0, 2.4}}),
            kTolerance);
  deps.given_coefficients = true;
  EXPECT_EQ(Combined("lora_stacking", deps, Clients(2, 2, 0.25 * fresh, 0.75 * stale)),
            (Rows{{2.25, 1}, {2.25, -1}, {0, 1.5}}));
}

TEST(LoraOracleTest, O7OneByOneInAnyOrderIsTheSum) {
  LoraDeps deps = DepsFor(3, 2);
  deps.given_coefficients = true;
  const std::vector<AdapterUpdate> clients = Clients(2, 2, 0.25, 0.75);
  const Rows first = Combined("lora_stacking", deps, {clients[0]});
  const Rows second = Combined("lora_stacking", deps, {clients[1]});
  EXPECT_EQ(Plus(first, second), kSum);
  EXPECT_EQ(Plus(second, first), kSum);
}

TEST(LoraOracleTest, O8FrozenA) {
  LoraDeps deps = DepsFor(3, 2);
  const Rows identity = {{1, 0}, {0, 1}};
  deps.start["w"] = Factors({{0, 0}, {0, 0}, {0, 0}}, identity);
  const auto of_b = [](WorkOrderId order, double weight, const Rows& b) {
    AdapterUpdate update = UpdateOf(order, weight, Factors(b, Rows(b[0].size(), {0, 0})));
    update.modules[0].a.clear();
    return update;
  };
  EXPECT_EQ(Combined("ffa", deps, {of_b(1, 10, {{1, 0}, {2, 0}, {0, 1}}), of_b(2, 30, kB2)}),
            (Rows{{1, 0}, {0.5, 0.75}, {0.75, 1}}));
  // A client of rank 1 has the first row of A_0.
  EXPECT_EQ(Combined("ffa", deps, {of_b(1, 10, {{1}, {2}, {0}}), of_b(2, 30, kB2)}),
            (Rows{{1, 0}, {0.5, 0.75}, {0.75, 0.75}}));
}

TEST(LoraOracleTest, O9TheRestThatTheWeightsTake) {
  const LoraDeps deps = DepsFor(3, 2, 1, 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const LoraAggregate fedex, Combine("fedex", deps, RankOneClients()));
  EXPECT_EQ(ProductOf(fedex.delta.at("w")), (Rows{{0, 0}, {0.75, -1.125}, {-0.375, 0.5625}}));
  EXPECT_EQ(fedex.start.at("w"),
            Combine("lora_average", deps, RankOneClients()).value().start.at("w"));
  EXPECT_EQ(Combined("fedex", deps, RankOneClients()), kRankOneSum);
}

TEST(LoraOracleTest, O10CorrectionOfB) {
  const LoraDeps deps = DepsFor(3, 2, 1, 1);
  const LowRank mean = Combine("lora_average", deps, RankOneClients()).value().start.at("w");
  const LowRank fair = Combine("lora_fair", deps, RankOneClients()).value().start.at("w");
  EXPECT_EQ(fair.a, mean.a);
  const Rows correction = Plus(Unflat(fair.b, 1), Unflat(mean.b, 1), -1);
  EXPECT_LT(Distance(correction, {{0}, {-9.0 / 122}, {9.0 / 244}}), 1e-7);
  EXPECT_NEAR(SquaredSize(Plus(ProductOf(fair), kRankOneSum, -1)), 2205.0 / 976, 1e-6);
  // A penalty makes it smaller.
  const LowRank less =
      Combine("lora_fair", deps, RankOneClients(), {{"ridge", 3.8125}}).value().start.at("w");
  EXPECT_LT(
      Distance(Plus(Unflat(less.b, 1), Unflat(mean.b, 1), -1), {{0}, {-9.0 / 244}, {9.0 / 488}}),
      1e-7);
}

TEST(LoraOracleTest, O11WeightsByNorm) {
  EXPECT_DOUBLE_EQ(InnerProduct(Factors(kB1, kA1), Factors(kB1, kA1)), 50);
  EXPECT_DOUBLE_EQ(InnerProduct(Factors(kB2, kA2), Factors(kB2, kA2)), 10);
  const double p1 = 0.6909830056, p2 = 0.3090169944;
  const LowRank mean = Combine("hetlora", DepsFor(3, 2), Clients(1, 1)).value().start.at("w");
  EXPECT_LT(Distance(Unflat(mean.b, 2), {{1, 0}, {2 * p1, p2}, {p2, p2}}), 1e-6);
  EXPECT_LT(Distance(Unflat(mean.a, 2), {{3 * p1 + p2, 2 * p2 - p1}, {-p2, 0}}), 1e-6);
}

}  // namespace
}  // namespace tributary
