// The two 16-bit floating-point formats, converted in plain integer and float32 operations:
// the same bits on every machine, and loops that compilers vectorise for any.
#ifndef TRIBUTARY_COMMON_PARAMS_HALF_H_
#define TRIBUTARY_COMMON_PARAMS_HALF_H_

#include <bit>
#include <cstdint>

namespace tributary {

// The largest finite binary16 and bfloat16 values.
inline constexpr float kHalfMax = 65504.0F;
inline constexpr float kBFloat16Max = 0x1.fep127F;

namespace half_internal {

// condition ? yes : no, without the branch that compilers make of it beside float arithmetic, which
// keeps them from vectorising.
inline uint32_t Select(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = -static_cast<uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

// a < b for magnitudes, which have no sign bit: SSE2 compares signed integers only.
inline bool Below(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a) < static_cast<int32_t>(b);
}

}  // namespace half_internal

// IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits. Exact.
inline float HalfToFloat(uint16_t half) {
  using half_internal::Below, half_internal::Select;
  const uint32_t magnitude = (half & 0x7fffU) << 13;
  const uint32_t normal = magnitude + ((127U - 15U) << 23);
  // 2^-14·(1 + mantissa) − 2^-14: the subtraction normalises.
  const float subnormal = std::bit_cast<float>(normal + (1U << 23)) - 0x1p-14F;
  const uint32_t finite =
      Select(Below(magnitude, 1U << 23), std::bit_cast<uint32_t>(subnormal), normal);
  // Infinity and NaN take the rest of the way to the largest exponent.
  const uint32_t bits = finite + Select(Below(magnitude, 0x7c00U << 13), 0, (128U - 16U) << 23);
  return std::bit_cast<float>(bits | (half & 0x8000U) << 16);
}

// To the nearest binary16, ties to even. Finite values beyond ±65504 saturate to it;
// infinities stay infinite and NaN stays NaN, so that nothing bad comes to look good.
inline uint16_t FloatToHalf(float value) {
  using half_internal::Below, half_internal::Select;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffU;
  // Adding 0.5 leaves the value in units of 2^-24, rounded to even, in the low bits.
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  const uint32_t odd = magnitude >> 13 & 1U;
  const uint32_t normal = (magnitude - ((127U - 15U) << 23) + 0xfffU + odd) >> 13;
  const uint32_t rounded = Select(Below(magnitude, 0x38800000U), subnormal, normal);
  const uint32_t finite = Select(Below(0x477fe000U, magnitude), 0x7bffU, rounded);
  const uint32_t special = Select(Below(0x7f800000U, magnitude), 0x7e00U, 0x7c00U);
  const uint32_t half = Select(Below(magnitude, 0x7f800000U), finite, special);
  return static_cast<uint16_t>(half | (bits >> 16 & 0x8000U));
}

// bfloat16: the upper half of a float32. Exact.
inline float BFloat16ToFloat(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// To the nearest bfloat16, ties to even. Finite values that would round to an infinity become
// ±kBFloat16Max; infinities stay infinite and NaN stays NaN.
inline uint16_t FloatToBFloat16(float value) {
  using half_internal::Below, half_internal::Select;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffU;
  const uint32_t odd = magnitude >> 16 & 1U;
  const uint32_t rounded = (magnitude + 0x7fffU + odd) >> 16;
  const uint32_t finite = Select(Below(rounded, 0x7f80U), rounded, 0x7f7fU);
  const uint32_t special = Select(Below(0x7f800000U, magnitude), 0x7fc0U, 0x7f80U);
  const uint32_t upper = Select(Below(magnitude, 0x7f800000U), finite, special);
  return static_cast<uint16_t>(upper | (bits >> 16 & 0x8000U));
}

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_HALF_H_
