// Mask: which trainable coordinates a job keeps. The others are zero in the model, in every
// delta and in the aggregate.
#ifndef TRIBUTARY_COMMON_PARAMS_MASK_H_
#define TRIBUTARY_COMMON_PARAMS_MASK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/check.h"

namespace tributary {

// Immutable after construction, thread-safe.
class Mask {
 public:
  // `keep` has one entry for every trainable coordinate of the layout.
  explicit Mask(const std::vector<bool>& keep)
      : size_(static_cast<int64_t>(keep.size())), words_((keep.size() + 63) / 64) {
    for (size_t i = 0; i < keep.size(); ++i) {
      if (keep[i]) words_[i / 64] |= uint64_t{1} << (i % 64), ++count_;
    }
  }

  int64_t size() const { return size_; }    // coordinates
  int64_t count() const { return count_; }  // of them kept
  bool Keeps(int64_t i) const {
    TRIB_CHECK(0 <= i && i < size_);
    return (words_[static_cast<size_t>(i) / 64] >> (i % 64) & 1) != 0;
  }
  // Bit i % 64 of word i / 64 is coordinate i; the bits after the last are 0.
  absl::Span<const uint64_t> words() const { return words_; }

 private:
  int64_t size_ = 0;
  int64_t count_ = 0;
  std::vector<uint64_t> words_;
};

// As bytes, coordinate i in bit i % 8 of byte i / 8; the bits after the last are 0.
std::string PackMask(const Mask& mask);
// InvalidArgument: not the form of a mask of that size.
absl::StatusOr<Mask> UnpackMask(int64_t size, absl::string_view bytes);

// Zero where the mask prunes. `values` are the coordinates from `first` on, within the mask.
void ClearPruned(const Mask& mask, int64_t first, absl::Span<float> values);

// The values that the mask keeps, in their order; `values` has one for each of its coordinates.
std::vector<float> GatherKept(const Mask& mask, absl::Span<const float> values);
// The inverse: what the mask keeps becomes `kept`, the rest 0. `kept` has mask.count() values.
void ScatterKept(const Mask& mask, absl::Span<const float> kept, absl::Span<float> values);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_MASK_H_
