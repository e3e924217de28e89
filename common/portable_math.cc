#include "common/portable_math.h"

#include <bit>
#include <cstdint>
#include <limits>

namespace tributary::portable {
namespace {

// ln 2 in two parts: kLn2High has 32 trailing zero bits, so that an exponent times it is exact.
constexpr double kLn2High = 0x1.62e42feep-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kInverseLn2 = 0x1.71547652b82fep0;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double PowerOfTwo(int64_t exponent) {  // -1022 … 1023
  return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52);
}

}  // namespace

double Log(double x) {
  if (!(x >= 0.0)) return std::numeric_limits<double>::quiet_NaN();
  if (x == 0.0) return -kInfinity;
  if (x == kInfinity) return x;
  int64_t exponent = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    exponent = -54;
  }
  // x = 2^exponent · m with m in [√½, √2).
  const auto bits = std::bit_cast<uint64_t>(x);
  exponent += static_cast<int64_t>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  if (m > 0x1.6a09e667f3bcdp0) {
    m *= 0.5;
    exponent += 1;
  }
  // With f = m − 1 and s = f / (2 + f): ln m = 2 artanh s = f − s·(f − r), where
  // r = 2·(s²/3 + s⁴/5 + …) and |s| < 0.172, so that the terms up to s²⁰/21 are enough. The
  // large term f is exact; the rest is small.
  const double f = m - 1.0;
  const double s = f / (2.0 + f);
  const double z = s * s;
  double series = 1.0 / 21.0;
  for (int k = 19; k >= 3; k -= 2) series = series * z + 1.0 / k;
  const double r = 2.0 * z * series;
  const auto e = static_cast<double>(exponent);
  return e * kLn2High + (f - (s * (f - r) - e * kLn2Low));
}

double Exp(double x) {
  if (x != x) return x;
  if (x > 710.0) return kInfinity;
  if (x < -746.0) return 0.0;
  // x = k·ln 2 + r with |r| <= ln 2 / 2.
  const double scaled = x * kInverseLn2;
  const auto k = static_cast<int64_t>(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
  const auto kd = static_cast<double>(k);
  const double r = (x - kd * kLn2High) - kd * kLn2Low;
  // Taylor's series to r¹³/13!: the next term is below 2⁻⁵⁷.
  double series = 1.0;
  for (int n = 13; n >= 1; --n) series = 1.0 + series * r / n;
  // In two factors, so that results near both ends of the range come out right.
  const int64_t half = k / 2;
  return series * PowerOfTwo(half) * PowerOfTwo(k - half);
}

}  // namespace tributary::portable
