// Deltas that travel as one number of fixed width for every trainable coordinate.
#ifndef TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_
#define TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/check.h"
#include "common/params/half.h"
#include "common/params/param_vector.h"
#include "common/params/update.h"

namespace tributary {

// Element formats: how many bytes, and their value. Loaded through memcpy, so that their
// alignment does not matter.
struct Float32Element {
  static constexpr size_t kBytes = 4;
  static float Load(const char* bytes) {
    float value;
    std::memcpy(&value, bytes, kBytes);
    return value;
  }
};
struct Float16Element {
  static constexpr size_t kBytes = 2;
  static float Load(const char* bytes) {
    uint16_t value;
    std::memcpy(&value, bytes, kBytes);
    return HalfToFloat(value);
  }
};

// Adds itself from the very bytes that came, without a copy. Immutable, thread-safe.
template <typename Element>
class ElementwisePayload final : public DeltaPayload {
 public:
  // `bytes` holds layout->trainable_size() elements, little-endian.
  ElementwisePayload(LayoutPtr layout, std::string bytes)
      : layout_(std::move(layout)), bytes_(std::move(bytes)) {
    TRIB_CHECK(bytes_.size() == static_cast<size_t>(layout_->trainable_size()) * Element::kBytes);
  }

  void AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const override {
    TRIB_CHECK(0 <= range.begin && range.begin <= range.end &&
               range.end <= layout_->trainable_size());
    TRIB_CHECK(static_cast<int64_t>(accumulator.size()) == range.size());
    const char* from = At(static_cast<size_t>(range.begin));
    float* to = accumulator.data();
    for (size_t i = 0; i < accumulator.size(); ++i) {
      to[i] += weight * Element::Load(from + i * Element::kBytes);
    }
  }

  absl::Status CheckFinite() const override {
    constexpr size_t kBlock = 4096;
    const auto size = static_cast<size_t>(layout_->trainable_size());
    for (size_t begin = 0; begin < size; begin += kBlock) {
      const size_t end = std::min(begin + kBlock, size);
      bool finite = true;
      for (size_t i = begin; i < end; ++i) finite &= std::isfinite(Element::Load(At(i)));
      if (finite) continue;
      while (std::isfinite(Element::Load(At(begin)))) ++begin;
      return NotFiniteError(*layout_, static_cast<int64_t>(begin), Element::Load(At(begin)));
    }
    return absl::OkStatus();
  }

 private:
  const char* At(size_t index) const { return bytes_.data() + index * Element::kBytes; }

  const LayoutPtr layout_;
  const std::string bytes_;
};

// InvalidArgument when `bytes` does not have exactly one element for every coordinate.
template <typename Element>
absl::StatusOr<std::unique_ptr<const DeltaPayload>> DecodeElementwise(absl::string_view codec,
                                                                      std::string bytes,
                                                                      LayoutPtr layout) {
  const auto expected = static_cast<size_t>(layout->trainable_size()) * Element::kBytes;
  if (bytes.size() != expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(codec, ": the layout takes ", expected, " bytes, found ", bytes.size()));
  }
  return std::make_unique<ElementwisePayload<Element>>(std::move(layout), std::move(bytes));
}

using DensePayload = ElementwisePayload<Float32Element>;
using HalfPayload = ElementwisePayload<Float16Element>;

// The little-endian bytes of `values`, as DensePayload takes them.
std::string FloatsToBytes(absl::Span<const float> values);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_
