// The two 16-bit floating-point formats, converted in plain integer and float32 operations:
// the same bits on every machine. A loop over them runs at about a third of a float32 pass
// (tests/bench/payload_bench).
#ifndef TRIBUTARY_COMMON_PARAMS_HALF_H_
#define TRIBUTARY_COMMON_PARAMS_HALF_H_

#include <bit>
#include <cstdint>

namespace tributary {

// The largest finite binary16 value.
inline constexpr float kHalfMax = 65504.0F;

// IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits. Exact.
inline float HalfToFloat(uint16_t half) {
  constexpr uint32_t kExponent = 0x7c00U << 13;
  const uint32_t magnitude = (half & 0x7fffU) << 13;
  const uint32_t exponent = magnitude & kExponent;
  const uint32_t normal = magnitude + ((127U - 15U) << 23);
  const uint32_t special = normal + ((128U - 16U) << 23);  // infinity and NaN
  // 2^-14·(1 + mantissa) − 2^-14: the subtraction normalises.
  const float subnormal = std::bit_cast<float>(normal + (1U << 23)) - 0x1p-14F;
  const uint32_t bits = exponent == kExponent ? special
                        : exponent == 0       ? std::bit_cast<uint32_t>(subnormal)
                                              : normal;
  return std::bit_cast<float>(bits | (half & 0x8000U) << 16);
}

// To the nearest binary16, ties to even. Finite values beyond ±65504 saturate to it;
// infinities stay infinite and NaN stays NaN, so that nothing bad comes to look good.
inline uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffU;
  // Adding 0.5 leaves the value in units of 2^-24, rounded to even, in the low bits.
  const uint32_t subnormal =
      std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000U;
  const uint32_t odd = magnitude >> 13 & 1U;
  const uint32_t normal = (magnitude - ((127U - 15U) << 23) + 0xfffU + odd) >> 13;
  const uint32_t special = magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U;
  const uint32_t half = magnitude >= 0x7f800000U  ? special
                        : magnitude > 0x477fe000U ? 0x7bffU
                        : magnitude < 0x38800000U ? subnormal
                                                  : normal;
  return static_cast<uint16_t>(half | (bits >> 16 & 0x8000U));
}

// bfloat16: the upper half of a float32. Exact.
inline float BFloat16ToFloat(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_HALF_H_
