// The format "bf16": bfloat16 little-endian, 2 bytes a value.
//
// Rounded to the nearest, ties to even: the error is at most 2^-8 of the value, or 2^-134 below
// 2^-126. Values beyond the largest bfloat16, 3.39e38, saturate to it.
#ifndef TRIBUTARY_COMMON_CODEC_BF16_H_
#define TRIBUTARY_COMMON_CODEC_BF16_H_

#include <cstring>
#include <memory>

#include "common/codec/elementwise.h"
#include "common/config/schema.h"
#include "common/params/half.h"

namespace tributary {

struct BFloat16Element {
  static constexpr size_t kBytes = 2;
  static float Load(const char* bytes) {
    uint16_t value;
    std::memcpy(&value, bytes, kBytes);
    return BFloat16ToFloat(value);
  }
  static void Store(float value, char* bytes) {
    const uint16_t rounded = FloatToBFloat16(value);
    std::memcpy(bytes, &rounded, kBytes);
  }
};

class Bf16Format final : public ElementwiseFormat<BFloat16Element> {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<Bf16Format>> Create(const Options&) {
    return std::make_unique<Bf16Format>();
  }
  bool lossless() const override { return false; }
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_BF16_H_
