// The format "fp16": IEEE 754 binary16 little-endian, 2 bytes a value.
//
// Rounded to the nearest, ties to even: the error is at most 2^-11 of the value, or 2^-25
// below 2^-14. Finite values beyond ±65504 saturate to it: a delta that large is no longer
// learning, and an infinity would cost the whole update.
#ifndef TRIBUTARY_COMMON_CODEC_FP16_H_
#define TRIBUTARY_COMMON_CODEC_FP16_H_

#include <cstring>
#include <memory>

#include "common/codec/elementwise.h"
#include "common/config/schema.h"
#include "common/params/half.h"

namespace tributary {

struct Float16Element {
  static constexpr size_t kBytes = 2;
  static float Load(const char* bytes) {
    uint16_t half;
    std::memcpy(&half, bytes, kBytes);
    return HalfToFloat(half);
  }
  static void Store(float value, char* bytes) {
    const uint16_t half = FloatToHalf(value);
    std::memcpy(bytes, &half, kBytes);
  }
};

class Fp16Format final : public ElementwiseFormat<Float16Element> {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<Fp16Format>> Create(const Options&) {
    return std::make_unique<Fp16Format>();
  }
  bool lossless() const override { return false; }
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_FP16_H_
