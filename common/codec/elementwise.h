// Formats that write one number of fixed width for each value.
#ifndef TRIBUTARY_COMMON_CODEC_ELEMENTWISE_H_
#define TRIBUTARY_COMMON_CODEC_ELEMENTWISE_H_

#include <algorithm>
#include <array>
#include <memory>
#include <string>

#include "common/check.h"
#include "common/codec/stage.h"
#include "common/config/schema.h"
#include "common/vector_clones.h"

namespace tributary {

// `Element` has kBytes, `static float Load(const char*)` and `static void Store(float, char*)`:
// little-endian, at any alignment.
template <typename Element>
class ElementwiseFormat : public Format {
 public:
  size_t BytesOf(size_t count) const final { return count * Element::kBytes; }
  size_t ValueBytes() const final { return Element::kBytes; }

  // By way of a small buffer: growing `out` in one step would first fill it with zeros.
  void Encode(absl::Span<const float> values, Rng, std::string& out) const final {
    std::array<char, 1024 * Element::kBytes> buffer;
    out.reserve(out.size() + BytesOf(values.size()));
    for (size_t begin = 0; begin < values.size(); begin += 1024) {
      const absl::Span<const float> some = values.subspan(begin, 1024);
      for (size_t i = 0; i < some.size(); ++i) {
        Element::Store(some[i], buffer.data() + i * Element::kBytes);
      }
      out.append(buffer.data(), BytesOf(some.size()));
    }
  }

  void AddTo(absl::string_view bytes, size_t count, float weight, CoordinateRange range,
             absl::Span<float> accumulator) const final {
    TRIB_CHECK(bytes.size() == BytesOf(count));
    Add(bytes.data() + static_cast<size_t>(range.begin) * Element::kBytes, accumulator.size(),
        weight, accumulator.data());
  }

 private:
  TRIB_VECTOR_CLONES static void Add(const char* from, size_t count, float weight,
                                     float* __restrict to) {
    for (size_t i = 0; i < count; ++i) to[i] += weight * Element::Load(from + i * Element::kBytes);
  }
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_ELEMENTWISE_H_
