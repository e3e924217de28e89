// What is particular to each rule that keeps an adapter.
#include <cmath>
#include <string>
#include <vector>

#include "aggregators/lora/product_svd.h"
#include "common/lora/adapter_start.h"
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
using test::Plus;
using test::ProductOf;
using test::RandomFactors;
using test::RelativeError;
using test::Rows;
using test::SquaredSize;
using test::StatusIs;
using test::Times;
using test::Unflat;
using test::UpdateOf;
using test::Zeros;
using ::testing::Each;
using ::testing::HasSubstr;

// What clients of these ranks and scales send after starting from `start`, with noise on what they
// train, and Σ p·s·B·A of it.
struct Round {
  std::vector<AdapterUpdate> updates;
  Rows sum;
};

Round TrainFrom(const LowRank& start, AdapterFactors factors, const std::vector<int64_t>& ranks,
                const std::vector<double>& scales, Rng& rng) {
  Round round{.updates = {}, .sum = Zeros(start.rows, start.columns)};
  const double total = static_cast<double>(ranks.size() * (ranks.size() + 1)) / 2;
  for (size_t k = 0; k < ranks.size(); ++k) {
    LowRank x = InitPair(start, ranks[k], scales[k], rng);
    if (factors != AdapterFactors::kA) {
      for (float& v : x.b) v += static_cast<float>(rng.Normal());
    }
    if (factors != AdapterFactors::kB) {
      for (float& v : x.a) v += static_cast<float>(rng.Normal());
    }
    const auto weight = static_cast<double>(k + 1);
    round.sum = Plus(round.sum, ProductOf(x), scales[k] * weight / total);
    AdapterUpdate update = UpdateOf(static_cast<WorkOrderId>(k), weight, x, scales[k]);
    if (factors == AdapterFactors::kA) update.modules[0].b.clear();
    if (factors == AdapterFactors::kB) update.modules[0].a.clear();
    round.updates.push_back(update);
  }
  return round;
}

// The error of averaging is −½·Σ p_i·p_j·(B_i − B_j)·(A_i − A_j).
TEST(LoraRulesTest, TheAverageIsOffByTheCrossTerms) {
  Rng rng(1);
  std::vector<LowRank> x;
  std::vector<AdapterUpdate> updates;
  const std::vector<double> p = {0.1, 0.2, 0.3, 0.4};
  for (size_t k = 0; k < 4; ++k) {
    x.push_back(RandomFactors(8, 6, 3, rng));
    updates.push_back(UpdateOf(static_cast<WorkOrderId>(k), p[k], x[k]));
  }
  Rows want = Zeros(8, 6);
  for (size_t i = 0; i < 4; ++i) {
    want = Plus(want, ProductOf(x[i]), p[i]);
    for (size_t j = 0; j < 4; ++j) {
      want = Plus(want,
                  Times(Plus(Unflat(x[i].b, 3), Unflat(x[j].b, 3), -1),
                        Plus(Unflat(x[i].a, 6), Unflat(x[j].a, 6), -1)),
                  -0.5 * p[i] * p[j]);
    }
  }
  EXPECT_LE(RelativeError(Combined("lora_average", DepsFor(8, 6, 3, 3), updates), want), 1e-6);
}

// What the second rank of one client alone holds, counts p² instead of p.
TEST(LoraRulesTest, ZeroPaddingShrinksWhatOneClientHas) {
  const LowRank one = test::Factors({{0, 1}, {0, 0}}, {{0, 0}, {1, 0}});
  const LowRank other = test::Factors({{0}, {0}}, {{0, 0}});
  const std::vector<AdapterUpdate> updates = {UpdateOf(1, 1, one), UpdateOf(2, 3, other)};
  EXPECT_EQ(Combined("lora_stacking", DepsFor(2, 2), updates), (Rows{{0.25, 0}, {0, 0}}));
  EXPECT_EQ(Combined("lora_zero_padding", DepsFor(2, 2), updates), (Rows{{0.0625, 0}, {0, 0}}));
}

TEST(LoraRulesTest, NormsReplaceTheWeightsOfHetLora) {
  Rng rng(2);
  const LowRank x = RandomFactors(5, 4, 2, rng), y = RandomFactors(5, 4, 2, rng);
  EXPECT_EQ(Combined("hetlora", DepsFor(5, 4), {UpdateOf(1, 1, x), UpdateOf(2, 99, y)}),
            Combined("hetlora", DepsFor(5, 4), {UpdateOf(1, 50, x), UpdateOf(2, 2, y)}));
  LowRank zero = x;
  Multiply(0, absl::MakeSpan(zero.b));
  EXPECT_LE(
      RelativeError(Combined("hetlora", DepsFor(5, 4), {UpdateOf(1, 1, zero), UpdateOf(2, 1, y)}),
                    ProductOf(y)),
      1e-6);
  EXPECT_THAT(Combine("hetlora", DepsFor(5, 4), {UpdateOf(1, 1, zero)}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("every product is 0")));
}

TEST(LoraRulesTest, FrozenAKeepsMixedRanksAndScalesExact) {
  Rng rng(3);
  LoraDeps deps = DepsFor(10, 8);
  deps.start["w"] = FreshAdapter(10, 8, 8, rng);
  for (int version = 0; version < 3; ++version) {
    const Round round =
        TrainFrom(deps.start["w"], AdapterFactors::kB, {8, 4, 2, 1}, {1, 2, 4, 8}, rng);
    const LoraAggregate next = Combine("ffa", deps, round.updates).value();
    EXPECT_TRUE(next.delta.empty());
    EXPECT_LE(RelativeError(ProductOf(next.start.at("w")), round.sum), 1e-6);
    EXPECT_EQ(next.start.at("w").a, deps.start["w"].a);
    deps.start = next.start;
  }
}

// A smaller client alone: the rows of A that it does not have are still there for others.
TEST(LoraRulesTest, FrozenAOutlivesSmallClients) {
  Rng rng(4);
  LoraDeps deps = DepsFor(10, 8);
  deps.start["w"] = FreshAdapter(10, 8, 8, rng);
  const Round round = TrainFrom(deps.start["w"], AdapterFactors::kB, {2}, {1}, rng);
  const LowRank next = Combine("ffa", deps, round.updates).value().start.at("w");
  EXPECT_EQ(next.rank, 8);
  EXPECT_EQ(next.a, deps.start["w"].a);
  EXPECT_LE(RelativeError(ProductOf(next), round.sum), 1e-6);
}

TEST(LoraRulesTest, TurnsAreExactAndBothFactorsMove) {
  Rng rng(5);
  LoraDeps deps = DepsFor(10, 8);
  deps.start["w"] = FreshAdapter(10, 8, 4, rng);
  for (deps.version = 0; deps.version < 4; ++deps.version) {
    const bool b_turn = deps.version % 2 == 0;
    const auto factors = b_turn ? AdapterFactors::kB : AdapterFactors::kA;
    EXPECT_EQ(LoraAggregatorRegistry().Create({"rolora", {}, {}}, deps).value()->factors(),
              factors);
    const Round round = TrainFrom(deps.start["w"], factors, {4, 4, 2}, {1, 2, 4}, rng);
    const LowRank next = Combine("rolora", deps, round.updates).value().start.at("w");
    EXPECT_LE(RelativeError(ProductOf(next), round.sum), 1e-6) << deps.version;
    EXPECT_EQ(next.a == deps.start["w"].a, b_turn);
    EXPECT_EQ(next.b == deps.start["w"].b, !b_turn);
    // What was trained in the other turn is refused.
    ++deps.version;
    EXPECT_THAT(Combine("rolora", deps, round.updates),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("A has")));
    --deps.version;
    deps.start["w"] = next;
  }
}

TEST(LoraRulesTest, SharedAIsTheMeanAndBStays) {
  Rng rng(6);
  const LowRank x = RandomFactors(5, 4, 2, rng), y = RandomFactors(5, 4, 3, rng);
  std::vector<AdapterUpdate> updates = {UpdateOf(1, 1, x), UpdateOf(2, 3, y)};
  for (AdapterUpdate& update : updates) update.modules[0].b.clear();
  const LoraAggregate next = Combine("fedsa", DepsFor(5, 4), updates).value();
  EXPECT_TRUE(next.own_b);
  EXPECT_TRUE(next.delta.empty());
  const LowRank& shared = next.start.at("w");
  EXPECT_THAT(shared.b, Each(0.0F));
  Rows want = Zeros(3, 4);
  for (size_t k = 0; k < 3; ++k) {
    for (size_t j = 0; j < 4; ++j) {
      want[k][j] = 0.75 * y.a[k * 4 + j] + (k < 2 ? 0.25 * x.a[k * 4 + j] : 0.0);
    }
  }
  EXPECT_LE(Distance(Unflat(shared.a, 4), want), 1e-6);
  // The B of a start says nothing of a client's product: the bound is on A itself.
  LoraDeps deps = DepsFor(5, 4);
  deps.start = next.start;
  deps.spec.max_product_norm = 1e-3;
  EXPECT_THAT(Combine("fedsa", deps, updates),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("the product's norm")));
}

TEST(LoraRulesTest, FlexLoraIsTheBestOfItsRankForEveryClient) {
  Rng rng(7);
  const LoraDeps deps = DepsFor(12, 10, 1, 4);
  const std::vector<AdapterUpdate> updates = {UpdateOf(1, 1, RandomFactors(12, 10, 4, rng), 2),
                                              UpdateOf(2, 2, RandomFactors(12, 10, 3, rng), 3)};
  const LowRank sum = Combine("lora_stacking", deps, updates).value().delta.at("w");
  const LowRank start = Combine("flexlora", deps, updates).value().start.at("w");
  ASSERT_EQ(start.rank, 4);
  TRIB_ASSERT_OK_AND_ASSIGN(const ProductSvd svd, SvdOfProduct(sum));
  for (int64_t rank = 1; rank <= 4; ++rank) {
    const LowRank own = InitPair(start, rank, 2.5, rng);
    const Rows product = Plus(Zeros(12, 10), ProductOf(own), 2.5);
    double tail = 0;
    for (size_t i = static_cast<size_t>(rank); i < svd.values.size(); ++i) {
      tail += svd.values[i] * svd.values[i];
    }
    EXPECT_NEAR(SquaredSize(Plus(product, ProductOf(sum), -1)), tail, 1e-5 * tail) << rank;
  }
}

TEST(LoraRulesTest, FedExIsExactAtAnyRank) {
  Rng rng(8);
  std::vector<AdapterUpdate> updates;
  for (int k = 0; k < 5; ++k)
    updates.push_back(UpdateOf(k, 1 + k, RandomFactors(12, 10, 2, rng), 3));
  const LoraDeps deps = DepsFor(12, 10, 2, 2);
  EXPECT_LE(
      RelativeError(Combined("fedex", deps, updates), Combined("lora_stacking", deps, updates)),
      1e-6);
  EXPECT_EQ(Combine("fedex", deps, updates).value().delta.at("w").rank, 12);  // R + r
}

TEST(LoraRulesTest, TheCorrectionOfBIsTheBestForItsA) {
  Rng rng(9);
  std::vector<AdapterUpdate> updates;
  for (int k = 0; k < 3; ++k) updates.push_back(UpdateOf(k, 1, RandomFactors(7, 6, 2, rng)));
  const LoraDeps deps = DepsFor(7, 6, 2, 2);
  const Rows sum = Combined("lora_stacking", deps, updates);
  const LowRank fair = Combine("lora_fair", deps, updates).value().start.at("w");
  const double error = Distance(ProductOf(fair), sum);
  EXPECT_LT(error, Distance(Combined("lora_average", deps, updates), sum));
  for (size_t i = 0; i < fair.b.size(); ++i) {
    for (const float step : {-0.01F, 0.01F}) {
      LowRank other = fair;
      other.b[i] += step;
      EXPECT_GT(Distance(ProductOf(other), sum), error);
    }
  }
}

TEST(LoraRulesTest, WhatRulesAskFor) {
  LoraDeps deps = DepsFor(3, 2);
  for (const char* rule : {"lora_average", "fedex", "lora_fair"}) {
    EXPECT_THAT(LoraAggregatorRegistry().Create({rule, {}, {}}, deps),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("needs one rank for all; found are 1 to 64")));
  }
  for (const char* rule : {"ffa", "rolora"}) {
    EXPECT_THAT(LoraAggregatorRegistry().Create({rule, {}, {}}, deps),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has no module 'w'")));
  }
  deps.spec.min_rank = deps.spec.max_rank = 2;
  deps.start["w"] = {.rows = 3, .columns = 2, .rank = 2, .b = std::vector<float>(6), .a = {1}};
  EXPECT_THAT(LoraAggregatorRegistry().Create({"ffa", {}, {}}, deps),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not of the job's shape")));
  deps.start["w"].a.resize(4);
  deps.given_coefficients = true;
  for (const auto& entry : LoraAggregatorRegistry().entries()) {
    const auto made = LoraAggregatorRegistry().Create({entry.name, {}, {}}, deps);
    EXPECT_EQ(made.ok(), entry.name == "lora_stacking") << entry.name;
    // Options alone.
    EXPECT_TRUE(LoraAggregatorRegistry().Create({entry.name, {}, {}}, {}).ok()) << entry.name;
  }
  EXPECT_THAT(LoraAggregatorRegistry().Create({"lora_stacking", {{"delivery", "x"}}, {}}, deps),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("delivery")));
}

}  // namespace
}  // namespace tributary
