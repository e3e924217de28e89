// The format "raw": float32 little-endian, nothing lost. 4 bytes a value; a payload that is
// nothing else is used in place.
#ifndef TRIBUTARY_COMMON_CODEC_RAW_H_
#define TRIBUTARY_COMMON_CODEC_RAW_H_

#include <cstring>
#include <memory>

#include "common/codec/elementwise.h"
#include "common/config/schema.h"

namespace tributary {

struct Float32Element {
  static constexpr size_t kBytes = 4;
  static float Load(const char* bytes) {
    float value;
    std::memcpy(&value, bytes, kBytes);
    return value;
  }
  static void Store(float value, char* bytes) { std::memcpy(bytes, &value, kBytes); }
};

class RawFormat final : public ElementwiseFormat<Float32Element> {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<RawFormat>> Create(const Options&) {
    return std::make_unique<RawFormat>();
  }
  bool lossless() const override { return true; }
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_RAW_H_
