#include "common/params/param_vector.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::IsOk;
using test::MakeParams;
using test::ParamsNear;
using test::StatusIs;
using test::TinyLayout;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ParamVector Counting() { return MakeParams(TinyLayout(), {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}); }

TEST(ParamVectorTest, StartsZeroAndAligned) {
  for (const int64_t size : {0, 1, 15, 16, 17, 100'003}) {
    const ParamVector params(FlatLayout(size));
    EXPECT_EQ(params.values().size(), static_cast<size_t>(size));
    EXPECT_THAT(params.values(), Each(0.0F));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(params.values().data()) % 64, 0U);
  }
}

TEST(ParamVectorTest, PartsAndViewsAreRangesOfTheOneBuffer) {
  ParamVector params = Counting();
  EXPECT_THAT(params.trainable(), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(params.buffers(), ElementsAre(8, 9));
  EXPECT_THAT(params.View("fc.bias"), ElementsAre(6, 7));
  EXPECT_THAT(params.View("fc"), IsEmpty());
  params.View("fc.bias")[0] = 60;
  params.buffers()[1] = 90;
  EXPECT_THAT(std::as_const(params).values(), ElementsAre(0, 1, 2, 3, 4, 5, 60, 7, 8, 90));
  EXPECT_THAT(std::as_const(params).View("bn.mean"), ElementsAre(8, 90));
}

TEST(ParamVectorTest, WithoutALayoutEverythingIsEmpty) {
  ParamVector none;
  EXPECT_TRUE(none.empty());
  EXPECT_THAT(none.values(), IsEmpty());
  EXPECT_THAT(none.trainable(), IsEmpty());
  EXPECT_THAT(none.buffers(), IsEmpty());
  EXPECT_THAT(none.View("w"), IsEmpty());
  EXPECT_TRUE(none.Clone().empty());
}

TEST(ParamVectorTest, ACloneIsItsOwn) {
  ParamVector params = Counting();
  const ParamVector clone = params.Clone();
  params.values()[0] = 100;
  EXPECT_THAT(clone, ParamsNear(Counting(), 0));
  EXPECT_EQ(clone.layout(), params.layout());
}

TEST(ParamVectorTest, MovingLeavesNothingBehind) {
  ParamVector params = Counting();
  const ParamVector moved = std::move(params);
  EXPECT_TRUE(params.empty());  // NOLINT(bugprone-use-after-move)
  EXPECT_THAT(params.values(), IsEmpty());
  EXPECT_THAT(moved, ParamsNear(Counting(), 0));
}

TEST(ParamVectorTest, TheDigestIsOfTheLittleEndianBytes) {
  EXPECT_EQ(MakeParams(FlatLayout(1, 1), {1.0F, -0.0F}).ComputeDigest(),
            Sha256::Of(absl::string_view("\0\0\x80\x3f\0\0\0\x80", 8)));
}

TEST(CheckFiniteTest, FindsTheFirstBadValueWhereverItStands) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  ParamVector params(FlatLayout(10'000, 1'000));
  for (float& v : params.values()) v = std::numeric_limits<float>::max();
  const ParamLayout& layout = *params.layout();
  EXPECT_THAT(CheckFinite(layout, params.values()), IsOk());
  for (const size_t at : {0, 1, 4095, 4096, 9999}) {
    for (const float bad : {nan, -nan, infinity, -infinity}) {
      params.values()[at] = bad;
      params.values()[10'000] = nan;  // later: never the one named
      EXPECT_THAT(CheckFinite(layout, params.values()),
                  StatusIs(absl::StatusCode::kOutOfRange,
                           "tensor 'w': value " + std::to_string(at) + " of 10000 is " +
                               (std::isnan(bad) ? "NaN" : "infinite")));
    }
    params.values()[at] = std::numeric_limits<float>::denorm_min();
  }
  EXPECT_THAT(CheckFinite(layout, params.trainable()), IsOk());
  EXPECT_THAT(CheckFinite(layout, params.values()),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("tensor 'b': value 0 of 1000")));
}

TEST(ArithmeticTest, SumsInDouble) {
  // In float32 the ones would be lost behind 2^24.
  std::vector<float> x(1001, 1.0F);
  x[0] = 4096.0F * 4096.0F;
  const std::vector<float> ones(1001, 1.0F);
  EXPECT_EQ(Dot(x, ones), 16777216.0 + 1000.0);
  EXPECT_EQ(SquaredNorm({3.0F, 4.0F}), 25.0);
  EXPECT_EQ(SquaredNorm({}), 0.0);
  EXPECT_EQ(SquaredNorm(std::vector<float>(2, 3e38F)), 2 * double{3e38F} * double{3e38F});
}

TEST(ArithmeticTest, ScalesAndAdds) {
  std::vector<float> y = {1, 2, 3};
  Scale(2.0F, absl::MakeSpan(y));
  EXPECT_THAT(y, ElementsAre(2, 4, 6));
  AddScaled(-0.5F, {1, 2, 3}, absl::MakeSpan(y));
  EXPECT_THAT(y, ElementsAre(1.5, 3, 4.5));
}

TEST(ArithmeticDeathTest, SizesMustMatch) {
  std::vector<float> y = {1, 2, 3};
  EXPECT_DEATH(AddScaled(1.0F, {1, 2}, absl::MakeSpan(y)), "check failed");
  EXPECT_DEATH(Dot({1, 2}, y), "check failed");
}

}  // namespace
}  // namespace tributary
