// How sums travel: ranks, tails, dense deltas, and how a client catches up.
#include "aggregators/lora/delivery.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregators/lora/low_rank_products.h"
#include "aggregators/lora/product_svd.h"
#include "common/lora/adapter_start.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregators/lora/adapters.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::Distance;
using test::IsOk;
using test::Plus;
using test::ProductOf;
using test::RandomFactors;
using test::RelativeError;
using test::Rows;
using test::SquaredSize;
using test::StatusIs;
using test::Unflat;
using test::Zeros;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<LoraDelivery> Recompressed(nlohmann::json fixed_rank, int64_t max_tail_rank = 64,
                                           bool error_feedback = true) {
  LoraDeliveryOptions options{
      .delivery = "recompressed", .error_feedback = error_feedback, .max_tail_rank = max_tail_rank};
  options.rank = {.name = "fixed", .options = {{"rank", std::move(fixed_rank)}}, .position = {}};
  return LoraDelivery::Create(options).value();
}

std::vector<int64_t> Ranks(const std::string& policy, nlohmann::json options,
                           const std::vector<Spectrum>& spectra) {
  return RankPolicyRegistry().Create({policy, std::move(options), {}}).value()->Ranks(spectra);
}

TEST(RankPolicyTest, FixedIsAtMostWhatThereIs) {
  const std::vector<double> three = {3, 2, 1}, none;
  EXPECT_THAT(Ranks("fixed", {{"rank", 2}}, {{4, 4, three}, {4, 4, none}}), ElementsAre(2, 0));
  EXPECT_THAT(Ranks("fixed", {{"rank", 9}}, {{4, 4, three}}), ElementsAre(3));
}

TEST(RankPolicyTest, EnergyIsReachedAndNotMore) {
  const std::vector<double> values = {2, 1, 1, 1};  // energies 4, 1, 1, 1
  for (const auto& [share, rank] :
       {std::pair{0.5, 1}, {4.0 / 7, 1}, {0.58, 2}, {5.0 / 7, 2}, {0.99, 4}, {1.0, 4}}) {
    EXPECT_THAT(Ranks("energy", {{"share", share}}, {{4, 4, values}}), ElementsAre(rank)) << share;
  }
  EXPECT_THAT(Ranks("energy", {{"share", 0.9}}, {{4, 4, {}}}), ElementsAre(0));
}

// A rank of the first module costs 4·(2 + 2) = 16 bytes, one of the second 4·(6 + 2) = 32.
TEST(RankPolicyTest, BytesBuyTheMostEnergy) {
  const std::vector<double> small = {3, 1}, large = {4, 1};  // σ²/bytes: 9/16, 1/16; 16/32, 1/32
  const std::vector<Spectrum> spectra = {{2, 2, small}, {6, 2, large}};
  for (const auto& [bytes, first, second] :
       {std::tuple{15, 0, 0}, {16, 1, 0}, {47, 1, 0}, {48, 1, 1}, {64, 2, 1}, {96, 2, 2}}) {
    EXPECT_THAT(Ranks("bytes", {{"bytes", bytes}}, spectra), ElementsAre(first, second)) << bytes;
  }
}

TEST(LoraDeliveryTest, WhatTheTailCannotHoldIsTold) {
  Rng rng(1);
  const LowRank sum = RandomFactors(30, 20, 8, rng);
  TRIB_ASSERT_OK_AND_ASSIGN(const ProductSvd svd, SvdOfProduct(sum));
  std::vector<double> energy;
  for (const double value : svd.values) energy.push_back(value * value);
  const auto total = [&](size_t begin, size_t end) {
    double s = 0;
    for (size_t i = begin; i < end; ++i) s += energy[i];
    return s;
  };
  const auto capped = Recompressed(3, 2);
  TRIB_ASSERT_OK_AND_ASSIGN(const Delivered sent, capped->Deliver({{"w", sum}}));
  EXPECT_NEAR(sent.sent_energy, total(0, 3), 1e-9 * total(0, 8));
  EXPECT_NEAR(sent.tail_energy, total(3, 5), 1e-5 * total(0, 8));
  EXPECT_NEAR(sent.dropped_energy, total(5, 8), 1e-5 * total(0, 8));
  EXPECT_EQ(capped->tail().at("w").rank, 2);
  const auto without = Recompressed(3, 64, false);
  TRIB_ASSERT_OK_AND_ASSIGN(const Delivered lost, without->Deliver({{"w", sum}}));
  EXPECT_NEAR(lost.dropped_energy, total(3, 8), 1e-5 * total(0, 8));
  EXPECT_EQ(lost.tail_energy, 0);
  EXPECT_TRUE(without->tail().empty());
  EXPECT_EQ(lost.modules, sent.modules);
}

TEST(LoraDeliveryTest, ARestoredTailGoesOnToTheBit) {
  Rng rng(2);
  const LowRank first = RandomFactors(30, 20, 6, rng), second = RandomFactors(30, 20, 6, rng);
  const auto whole = Recompressed(2);
  const auto restored = Recompressed(2);
  ASSERT_THAT(whole->Deliver({{"w", first}}), IsOk());
  restored->Restore(whole->tail());
  EXPECT_EQ(restored->Deliver({{"w", second}}).value().modules,
            whole->Deliver({{"w", second}}).value().modules);
}

TEST(LoraDeliveryTest, ATailOfAnotherShapeIsRefused) {
  Rng rng(3);
  const auto delivery = Recompressed(2);
  delivery->Restore({{"w", RandomFactors(30, 20, 2, rng)}});
  const LowRankModel tail = delivery->tail();
  EXPECT_THAT(delivery->Deliver({{"w", RandomFactors(20, 30, 6, rng)}}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("the tail is [30, 20]")));
  EXPECT_EQ(delivery->tail(), tail);
}

// 12·6/18 = 4: at that rank the whole sum costs no more.
TEST(LoraDeliveryTest, WhatIsNoLargerDenseGoesWhole) {
  Rng rng(4);
  const LowRank sum = RandomFactors(12, 6, 9, rng);
  const auto delivery = Recompressed(4);
  TRIB_ASSERT_OK_AND_ASSIGN(const Delivered sent, delivery->Deliver({{"w", sum}}));
  EXPECT_EQ(sent.values, 72);
  EXPECT_LE(RelativeError(ProductOf(sent.modules.at("w")), ProductOf(sum)), 1e-7);
  EXPECT_TRUE(delivery->tail().empty());
  EXPECT_EQ(sent.dropped_energy, 0);
  EXPECT_NEAR(sent.sent_energy, SquaredSize(ProductOf(sum)), 1e-9 * sent.sent_energy);
  const auto dense = LoraDelivery::Create({.delivery = "dense"}).value();
  TRIB_ASSERT_OK_AND_ASSIGN(const Delivered asked,
                            dense->Deliver({{"w", RandomFactors(12, 6, 1, rng)}}));
  EXPECT_EQ(asked.values, 72);
}

TEST(LoraDeliveryTest, BudgetOverModules) {
  Rng rng(5);
  LowRank strong = RandomFactors(16, 16, 4, rng), weak = RandomFactors(16, 16, 4, rng);
  Multiply(0.01, absl::MakeSpan(weak.b));
  LoraDeliveryOptions options{.delivery = "recompressed"};
  options.rank = {.name = "bytes", .options = {{"bytes", 5 * 128}}, .position = {}};
  const auto delivery = LoraDelivery::Create(options).value();
  TRIB_ASSERT_OK_AND_ASSIGN(const Delivered sent,
                            delivery->Deliver({{"strong", strong}, {"weak", weak}}));
  EXPECT_EQ(sent.modules.at("strong").factors.rank, 4);
  EXPECT_EQ(sent.modules.at("weak").factors.rank, 1);
  EXPECT_EQ(sent.values * 4, 5 * 128);
}

TEST(PersistentAdapterTest, AStartCompensatesTheScaleAndFillsWithFreshRanks) {
  Rng rng(9);
  const LowRank start = RandomFactors(9, 7, 3, rng);
  const LowRank own = InitPair(start, 5, 4, rng);
  EXPECT_EQ(own.rank, 5);
  EXPECT_LE(RelativeError(Plus(Zeros(9, 7), ProductOf(own), 4), ProductOf(start)), 1e-6);
  EXPECT_GT(SquaredSize(Unflat(Slice(own, 3, 2).a, 7)), 0);
  const LowRank less = InitPair(start, 2, 1, rng);
  EXPECT_EQ(less, Slice(start, 0, 2));
}

TEST(LowRankTest, InnerProductsNeedNoProducts) {
  Rng rng(12);
  const LowRank x = RandomFactors(9, 7, 3, rng), y = RandomFactors(9, 7, 5, rng);
  double want = 0;
  const Rows product = ProductOf(x), other = ProductOf(y);
  for (size_t i = 0; i < 9; ++i) {
    for (size_t j = 0; j < 7; ++j) want += product[i][j] * other[i][j];
  }
  EXPECT_NEAR(InnerProduct(x, y), want, 1e-10);
  EXPECT_NEAR(InnerProduct(y, x), want, 1e-10);
  EXPECT_NEAR(Norm(x), std::sqrt(SquaredSize(product)), 1e-10);
  EXPECT_EQ(InnerProduct(x, {.rows = 9, .columns = 7}), 0);
}

TEST(LowRankTest, ProjectedRowsOfAProjectTheProduct) {
  Rng rng(13);
  LowRank x = RandomFactors(9, 7, 3, rng);
  const Rows before = ProductOf(x);
  // Two orthonormal directions.
  const float h = std::sqrt(0.5F);
  const std::vector<float> v = {h, h, 0, 0, 0, 0, 0, 0, 0, 0.6F, 0.8F, 0, 0, 0};
  OrthogonalizeRows(v, x);
  Rows want = before;
  for (size_t i = 0; i < want.size(); ++i) {
    for (size_t d = 0; d < 2; ++d) {
      double along = 0;
      for (size_t j = 0; j < 7; ++j) along += before[i][j] * v[d * 7 + j];
      for (size_t j = 0; j < 7; ++j) want[i][j] -= along * v[d * 7 + j];
    }
  }
  EXPECT_LE(RelativeError(ProductOf(x), want), 1e-6);
}

}  // namespace
}  // namespace tributary
