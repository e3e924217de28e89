#include "common/portable_math.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary::portable {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(PortableLogTest, AgreesWithLibmOverTheWholeRange) {
  for (int exponent = -1074; exponent <= 1023; ++exponent) {
    for (double mantissa = 1.0; mantissa < 2.0; mantissa += 1.0 / 61) {
      const double x = std::ldexp(mantissa, exponent);
      const double expected = std::log(x);
      ASSERT_NEAR(Log(x), expected, 1e-15 * std::abs(expected)) << std::hexfloat << x;
    }
  }
}

TEST(PortableLogTest, AgreesWithLibmNextToOne) {
  for (double off = 0x1p-53; off < 0.5; off *= 1.37) {
    EXPECT_NEAR(Log(1.0 + off), std::log(1.0 + off), 1e-15 * std::abs(std::log(1.0 + off)));
    EXPECT_NEAR(Log(1.0 - off), std::log(1.0 - off), 1e-15 * std::abs(std::log(1.0 - off)));
  }
  EXPECT_EQ(Log(1.0), 0.0);
}

TEST(PortableLogTest, TreatsTheEdgesAsIeeeDoes) {
  EXPECT_EQ(Log(0.0), -kInfinity);
  EXPECT_EQ(Log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(Log(-1.0)));
  EXPECT_TRUE(std::isnan(Log(std::nan(""))));
}

TEST(PortableExpTest, AgreesWithLibmOverTheWholeRange) {
  for (double x = -708.0; x <= 709.7; x += 0.0371) {
    const double expected = std::exp(x);
    ASSERT_NEAR(Exp(x), expected, 1e-15 * expected) << x;
  }
  for (double x = 1e-20; x < 1.0; x *= 3.1) {
    EXPECT_NEAR(Exp(x), std::exp(x), 1e-15);
    EXPECT_NEAR(Exp(-x), std::exp(-x), 1e-15);
  }
  EXPECT_EQ(Exp(0.0), 1.0);
}

TEST(PortableExpTest, TreatsTheEdgesAsIeeeDoes) {
  EXPECT_EQ(Exp(-kInfinity), 0.0);
  EXPECT_EQ(Exp(-800.0), 0.0);
  EXPECT_EQ(Exp(kInfinity), kInfinity);
  EXPECT_EQ(Exp(709.79), kInfinity);
  EXPECT_TRUE(std::isnan(Exp(std::nan(""))));
  // Subnormal results lose digits, not their size.
  EXPECT_NEAR(Exp(-740.0), std::exp(-740.0), std::numeric_limits<double>::denorm_min());
}

}  // namespace
}  // namespace tributary::portable
