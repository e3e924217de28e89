#include "common/params/half.h"

#include <cmath>
#include <limits>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// The definition, in doubles.
double ValueOf(uint16_t half) {
  const int exponent = half >> 10 & 0x1f;
  const int mantissa = half & 0x3ff;
  const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(HalfTest, EveryHalfBecomesItsValueAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = HalfToFloat(half);
    if ((half & 0x7c00) != 0x7c00) {
      ASSERT_EQ(value, ValueOf(half)) << bits;
      ASSERT_EQ(std::signbit(value), (half & 0x8000) != 0) << bits;
      ASSERT_EQ(FloatToHalf(value), half) << bits;
    } else if ((half & 0x3ff) == 0) {
      ASSERT_EQ(value, (half & 0x8000) != 0 ? -kInfinity : kInfinity);
      ASSERT_EQ(FloatToHalf(value), half);
    } else {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(HalfToFloat(FloatToHalf(value)))) << bits;
    }
  }
}

TEST(HalfTest, TiesBetweenNeighboursGoToTheEvenOneAndTheRestToTheNearest) {
  for (uint16_t half = 0; half < 0x7bff; ++half) {
    const auto next = static_cast<uint16_t>(half + 1);
    const auto middle = static_cast<float>((ValueOf(half) + ValueOf(next)) / 2);
    const uint16_t even = half % 2 == 0 ? half : next;
    ASSERT_EQ(FloatToHalf(middle), even) << half;
    ASSERT_EQ(FloatToHalf(-middle), even | 0x8000) << half;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, 0.0F)), half) << half;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, kInfinity)), next) << half;
  }
}

TEST(HalfTest, ValuesBeyondTheRangeSaturateAndTinyOnesVanish) {
  for (const float x : {65504.0F, 65519.0F, 65520.0F, 1e6F, std::numeric_limits<float>::max()}) {
    EXPECT_EQ(HalfToFloat(FloatToHalf(x)), kHalfMax) << x;
    EXPECT_EQ(HalfToFloat(FloatToHalf(-x)), -kHalfMax) << x;
  }
  EXPECT_EQ(FloatToHalf(0x1p-25F), 0);  // a tie with 0, which is even
  EXPECT_EQ(FloatToHalf(std::nextafter(0x1p-25F, 1.0F)), 1);
  EXPECT_EQ(FloatToHalf(std::numeric_limits<float>::denorm_min()), 0);
  EXPECT_EQ(FloatToHalf(-std::numeric_limits<float>::denorm_min()), 0x8000);
}

TEST(HalfTest, RandomFloatsAreWithinHalfASpacing) {
  Rng rng(1);
  for (int i = 0; i < 200'000; ++i) {
    const double x = std::ldexp(rng.Uniform(-1.0, 1.0), static_cast<int>(rng.UniformInt(40)) - 25);
    const auto value = static_cast<float>(x);
    const double bound = std::max(std::abs(value) * 0x1p-11, 0x1p-25);
    ASSERT_NEAR(HalfToFloat(FloatToHalf(value)), value, bound);
  }
}

TEST(BFloat16Test, IsTheUpperHalfOfAFloat) {
  EXPECT_EQ(BFloat16ToFloat(0x3f80), 1.0F);
  EXPECT_EQ(BFloat16ToFloat(0xc040), -3.0F);
  EXPECT_EQ(BFloat16ToFloat(0x7f80), kInfinity);
  EXPECT_TRUE(std::isnan(BFloat16ToFloat(0x7fc0)));
}

TEST(BFloat16Test, EveryOneComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto value = static_cast<uint16_t>(bits);
    const uint16_t back = FloatToBFloat16(BFloat16ToFloat(value));
    if ((value & 0x7fff) <= 0x7f80) {
      ASSERT_EQ(back, value);
    } else {
      ASSERT_TRUE(std::isnan(BFloat16ToFloat(back))) << bits;
    }
  }
}

TEST(BFloat16Test, TiesBetweenNeighboursGoToTheEvenOneAndTheRestToTheNearest) {
  for (uint16_t value = 0; value < 0x7f7f; ++value) {
    const auto next = static_cast<uint16_t>(value + 1);
    // Adding in float32 is exact: the middle has one bit more.
    const float middle = BFloat16ToFloat(value) / 2 + BFloat16ToFloat(next) / 2;
    if (value < 0x100) continue;  // halves of subnormals round
    const uint16_t even = value % 2 == 0 ? value : next;
    ASSERT_EQ(FloatToBFloat16(middle), even) << value;
    ASSERT_EQ(FloatToBFloat16(-middle), even | 0x8000) << value;
    ASSERT_EQ(FloatToBFloat16(std::nextafter(middle, 0.0F)), value) << value;
    ASSERT_EQ(FloatToBFloat16(std::nextafter(middle, kInfinity)), next) << value;
  }
}

TEST(BFloat16Test, TheEndsOfTheRange) {
  EXPECT_EQ(FloatToBFloat16(std::numeric_limits<float>::max()), 0x7f7f);
  EXPECT_EQ(FloatToBFloat16(std::numeric_limits<float>::lowest()), 0xff7f);
  EXPECT_EQ(BFloat16ToFloat(0x7f7f), kBFloat16Max);
  EXPECT_EQ(FloatToBFloat16(0x1p-134F), 0);  // a tie with 0, which is even
  EXPECT_EQ(FloatToBFloat16(std::nextafter(0x1p-134F, 1.0F)), 1);
  // A NaN whose bits are all in the half that is dropped.
  EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(std::bit_cast<float>(0x7f800001U)))));
}

}  // namespace
}  // namespace tributary
