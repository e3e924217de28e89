// What is accepted of clients' adapters (P14: what is refused leaves everything as it was).
#include "aggregators/lora/adapter.h"

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/aggregators/lora/adapters.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::DepsFor;
using test::Factors;
using test::IsOk;
using test::ProductOf;
using test::RandomFactors;
using test::Rows;
using test::StatusIs;
using test::UpdateOf;
using ::testing::HasSubstr;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Refusal {
  const char* message;
  std::function<void(AdapterUpdate&)> spoil;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
};

std::vector<Refusal> Refusals() {
  return {
      {"module 'x': is not one of the job's", [](auto& u) { u.modules[0].name = "x"; }},
      {"module 'w': is missing", [](auto& u) { u.modules.clear(); }},
      {"module 'w': is there twice", [](auto& u) { u.modules.push_back(u.modules[0]); }},
      {"rank is 0; allowed are 1 to 4", [](auto& u) { u.modules[0].rank = 0; }},
      {"rank is 5; allowed are 1 to 4", [](auto& u) { u.modules[0].rank = 5; }},
      {"rank is 4611686018427387904; allowed are 1 to 4",
       [](auto& u) { u.modules[0].rank = int64_t{1} << 62; }},
      {"rank is -1; allowed are 1 to 4", [](auto& u) { u.modules[0].rank = -1; }},
      {"A has 3 values instead of 4", [](auto& u) { u.modules[0].a.pop_back(); }},
      {"A has 6 values instead of 4", [](auto& u) { std::swap(u.modules[0].a, u.modules[0].b); }},
      {"B has 7 values instead of 6", [](auto& u) { u.modules[0].b.push_back(0); }},
      {"B has 0 values instead of 6", [](auto& u) { u.modules[0].b.clear(); }},
      {"A[2] is nan; allowed are numbers up to 1e+18",
       [](auto& u) { u.modules[0].a[2] = static_cast<float>(kNaN); }},
      {"B[5] is -inf", [](auto& u) { u.modules[0].b[5] = static_cast<float>(-kInfinity); }},
      {"scale is 0; allowed are 1e-06 to 1e+06", [](auto& u) { u.modules[0].scale = 0; }},
      {"A[0] is 1e+19", [](auto& u) { u.modules[0].a[0] = 1e19F; }},
      {"scale is -1", [](auto& u) { u.modules[0].scale = -1; }},
      {"scale is 1e+07", [](auto& u) { u.modules[0].scale = 1e7; }},
      {"scale is nan", [](auto& u) { u.modules[0].scale = kNaN; }},
      {"scale is inf", [](auto& u) { u.modules[0].scale = kInfinity; }},
      {"weight is 0; allowed are finite numbers above 0", [](auto& u) { u.weight = 0; }},
      {"weight is -2", [](auto& u) { u.weight = -2; }},
      {"weight is nan", [](auto& u) { u.weight = kNaN; }},
      {"weight is inf", [](auto& u) { u.weight = kInfinity; }},
      {"the product's norm is", [](auto& u) { u.modules[0].scale = 1e6; },
       absl::StatusCode::kResourceExhausted},
  };
}

TEST(AdapterTest, P14WhatIsRefusedChangesNothing) {
  LoraDeps deps = DepsFor(3, 2, 1, 4);
  deps.spec.max_product_norm = 1000;
  Rng rng(1);
  const std::vector<AdapterUpdate> good = {UpdateOf(1, 2, RandomFactors(3, 2, 2, rng)),
                                           UpdateOf(2, 3, RandomFactors(3, 2, 2, rng))};
  for (const auto& entry : LoraAggregatorRegistry().entries()) {
    if (entry.name == "ffa" || entry.name == "rolora" || entry.name == "fedsa") continue;
    LoraDeps own = deps;
    if (entry.name == "lora_average" || entry.name == "fedex" || entry.name == "lora_fair") {
      own.spec.min_rank = own.spec.max_rank = 2;
    }
    const LoraAggregate want = test::Combine(entry.name, own, good).value();
    const auto aggregator = LoraAggregatorRegistry().Create({entry.name, {}, {}}, own).value();
    ASSERT_THAT(aggregator->Accumulate(good[0]), IsOk());
    for (const Refusal& refusal : Refusals()) {
      AdapterUpdate bad = UpdateOf(3, 1, RandomFactors(3, 2, 2, rng));
      refusal.spoil(bad);
      EXPECT_THAT(aggregator->Accumulate(bad), StatusIs(refusal.code))
          << entry.name << ": " << refusal.message;
    }
    ASSERT_THAT(aggregator->Accumulate(good[1]), IsOk());
    TRIB_ASSERT_OK_AND_ASSIGN(const LoraAggregate got, std::move(*aggregator).Finish());
    EXPECT_EQ(got.delta, want.delta) << entry.name;
    EXPECT_EQ(got.start, want.start) << entry.name;
    EXPECT_EQ(got.updates, 2);
    EXPECT_EQ(got.weight, 5);
  }
}

TEST(AdapterTest, RefusalsSayWhatIsAllowed) {
  LoraDeps deps = DepsFor(3, 2, 1, 4);
  deps.spec.max_product_norm = 1000;
  Rng rng(2);
  const auto aggregator = LoraAggregatorRegistry().Create({"lora_stacking", {}, {}}, deps).value();
  for (const Refusal& refusal : Refusals()) {
    AdapterUpdate bad = UpdateOf(3, 1, RandomFactors(3, 2, 2, rng));
    refusal.spoil(bad);
    EXPECT_THAT(aggregator->Accumulate(bad), StatusIs(refusal.code, HasSubstr(refusal.message)));
  }
  EXPECT_THAT(std::move(*aggregator).Finish(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no adapter")));
}

TEST(AdapterTest, TheNormIsThatOfTheScaledProduct) {
  Rng rng(3);
  const LowRank x = RandomFactors(7, 5, 3, rng);
  const double norm = 2 * std::sqrt(test::SquaredSize(ProductOf(x)));
  for (const double share : {0.999, 1.001}) {
    AdapterSpec spec = DepsFor(7, 5).spec;
    spec.max_product_norm = share * norm;
    const auto accepted = Accept(UpdateOf(1, 1, x, 2), spec, AdapterFactors::kBoth, {});
    EXPECT_EQ(accepted.ok(), share > 1);
    if (share > 1) {
      EXPECT_NEAR(accepted->at("w").norm, norm, 1e-9 * norm);
    }
  }
}

TEST(AdapterTest, TheFrozenFactorComesFromTheStart) {
  Rng rng(4);
  const AdapterSpec spec = DepsFor(7, 5).spec;
  const LowRankModel start = {{"w", RandomFactors(7, 5, 4, rng)}};
  AdapterUpdate update = UpdateOf(1, 1, RandomFactors(7, 5, 3, rng), 2);
  update.modules[0].a.clear();
  const auto accepted = Accept(update, spec, AdapterFactors::kB, start);
  ASSERT_THAT(accepted, IsOk());
  EXPECT_EQ(accepted->at("w").factors.a, Slice(start.at("w"), 0, 3).a);
  EXPECT_EQ(accepted->at("w").scale, 2);
  // What is frozen may not be sent, nor the rank be more than there is.
  EXPECT_THAT(
      Accept(UpdateOf(1, 1, RandomFactors(7, 5, 3, rng)), spec, AdapterFactors::kB, start),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("A has 15 values instead of 0")));
  AdapterUpdate large = UpdateOf(1, 1, RandomFactors(7, 5, 5, rng));
  large.modules[0].a.clear();
  EXPECT_THAT(Accept(large, spec, AdapterFactors::kB, start),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("rank is 5; the adapter that clients start from has 4")));
  EXPECT_THAT(Accept(update, spec, AdapterFactors::kB, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has no A")));
}

// The largest values that are allowed, where B is 0: 0·∞ would be no number.
TEST(AdapterTest, WhatIsAllowedStaysFinite) {
  const LowRank x = {.rows = 2, .columns = 2, .rank = 1, .b = {0, 0}, .a = {1e18F, -1e18F}};
  const LowRank sum =
      test::Combine("lora_stacking", DepsFor(2, 2), {UpdateOf(1, 1, x, 1e6)}).value().delta.at("w");
  EXPECT_EQ(ProductOf(sum), (Rows{{0, 0}, {0, 0}}));
}

TEST(AdapterTest, ASpecIsChecked) {
  const AdapterSpec good = DepsFor(3, 2).spec;
  EXPECT_THAT(good.Validate(), IsOk());
  EXPECT_THAT(AdapterSpec{}.Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no module")));
  AdapterSpec spec = good;
  spec.modules["v"] = {.rows = 0, .columns = 2};
  EXPECT_THAT(spec.Validate(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[0, 2]")));
  spec = good;
  spec.max_rank = 0;
  EXPECT_THAT(spec.Validate(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 to 0")));
  spec = good;
  spec.max_product_norm = kNaN;
  EXPECT_THAT(spec.Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_product_norm is nan")));
  spec.max_product_norm = kInfinity;
  EXPECT_THAT(spec.Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("up to 1e+18")));
}

}  // namespace
}  // namespace tributary
