// How sums travel: ranks, tails, dense deltas, and how a client catches up.
#include "aggregators/lora/delivery.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregators/lora/delta_log.h"
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

TEST(LoraDeltaLogTest, CatchesUpFromAnyVersion) {
  Rng rng(6);
  LoraDeltaLog log(3);
  std::vector<Rows> weights = {Zeros(16, 12)};  // of versions 3, 4, …
  for (Version v = 4; v <= 12; ++v) {
    // 16·12/28 < 7: version 8's own step is dense.
    const LowRank step = RandomFactors(16, 12, v == 8 ? 7 : 1 + v % 3, rng);
    weights.push_back(Plus(weights.back(), ProductOf(step)));
    ASSERT_THAT(log.Append(v, {{"w", DeltaOf(step)}}), IsOk());
  }
  for (Version base = 3; base <= 12; ++base) {
    TRIB_ASSERT_OK_AND_ASSIGN(const ModelDelta caught_up, log.Since(base));
    const Rows want = Plus(weights.back(), weights[static_cast<size_t>(base - 3)], -1);
    EXPECT_LE(Distance(ProductOf(caught_up.at("w")), want),
              2e-6 * (1 + std::sqrt(SquaredSize(want))));
    EXPECT_LE(DeltaValues(caught_up.at("w")), 16 * 12);
  }
  EXPECT_EQ(DeltaValues(log.Since(12).value().at("w")), 0);
  EXPECT_EQ(log.Since(10).value().at("w").factors.rank, 1 + 11 % 3 + 1 + 12 % 3);
}

// Twenty steps of rank 1 in the same two directions: rank 20 at first, 2 in truth.
TEST(LoraDeltaLogTest, LongWaysAreBroughtToTheirRank) {
  Rng rng(7);
  const LowRank x = RandomFactors(16, 12, 2, rng);
  LoraDeltaLog log(0);
  Rows want = Zeros(16, 12);
  for (Version v = 1; v <= 20; ++v) {
    const LowRank step = Slice(x, v % 2, 1);
    want = Plus(want, ProductOf(step));
    ASSERT_THAT(log.Append(v, {{"w", DeltaOf(step)}}), IsOk());
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const ModelDelta caught_up, log.Since(0));
  EXPECT_EQ(caught_up.at("w").factors.rank, 2);
  EXPECT_LE(RelativeError(ProductOf(caught_up.at("w")), want), 1e-6);
}

TEST(LoraDeltaLogTest, SaysWhatItCannotDo) {
  Rng rng(8);
  LoraDeltaLog log(0);
  const auto step = [&](int64_t rows) {
    return ModelDelta{{"w", DeltaOf(RandomFactors(rows, 12, 1, rng))}};
  };
  EXPECT_TRUE(log.Since(0).value().empty());
  ASSERT_THAT(log.Append(1, step(16)), IsOk());
  ASSERT_THAT(log.Append(2, step(16)), IsOk());
  EXPECT_THAT(log.Append(2, step(16)),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("the next is 3")));
  EXPECT_THAT(log.Append(3, step(15)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("other modules or shapes")));
  EXPECT_THAT(log.Append(3, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(log.latest(), 2);
  log.ForgetBefore(1);
  EXPECT_EQ(log.first(), 1);
  EXPECT_THAT(log.Since(0),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("allowed are 1 to 2")));
  EXPECT_THAT(log.Since(3), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(log.Since(1), IsOk());
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

TEST(PersistentAdapterTest, ADeltaIsWhatTrainingChanged) {
  Rng rng(10);
  const LowRank initial = RandomFactors(9, 7, 3, rng), trained = RandomFactors(9, 7, 3, rng);
  const LowRank delta = AdapterDelta(trained, initial, 1.5);
  EXPECT_EQ(delta.rank, 6);
  const Rows want = Plus(Plus(Zeros(9, 7), ProductOf(trained), 1.5), ProductOf(initial), -1.5);
  EXPECT_LE(RelativeError(ProductOf(delta), want), 1e-6);
}

TEST(PersistentAdapterTest, ARankIsPrunedWhenItsTailShrinks) {
  Rng rng(11);
  const LowRank initial = RandomFactors(9, 7, 4, rng);
  LowRank trained = initial;
  for (size_t i = 3; i < trained.b.size(); i += 4) trained.b[i] *= 0.5F;  // the last column
  EXPECT_EQ(SelfPrunedRank(initial, trained, 0.75), 3);
  EXPECT_EQ(SelfPrunedRank(initial, trained, 0.7), 3);
  EXPECT_EQ(SelfPrunedRank(initial, trained, 0.1), 1);
  EXPECT_EQ(SelfPrunedRank(initial, trained, 1.0), 4);
  EXPECT_EQ(SelfPrunedRank(trained, initial, 0.75), 4);
  EXPECT_EQ(SelfPrunedRank(initial, initial, 0.75), 4);
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
