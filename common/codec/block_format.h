// Formats that write a block of consecutive values as one scale and a small integer, the code, for
// each: value = scale · code, rounded to float32.
//
//   [ scale of each block, float32 little-endian | codes, 1, 4 or 8 bits each ]
//
// Blocks have `block` values, the last what is left. Codes fill bytes from the lowest bits on;
// what is left over of the last byte is 0. Codes of 4 and 8 bits are two's complement; of one bit,
// 0 is +1 and 1 is −1. A block of zeros has the scale 0. A block with a value that is not finite
// has the scale NaN, so that the receiver finds all of it not finite.
#ifndef TRIBUTARY_COMMON_CODEC_BLOCK_FORMAT_H_
#define TRIBUTARY_COMMON_CODEC_BLOCK_FORMAT_H_

#include <string>

#include "common/codec/stage.h"
#include "common/rng.h"

namespace tributary {

// InvalidArgument if a `block` that a job asks for is not a multiple of 8.
absl::Status CheckBlock(int64_t block);

class BlockFormat : public Format {
 public:
  size_t BytesOf(size_t count) const final;
  void Encode(absl::Span<const float> values, Rng rng, std::string& out) const final;
  // Scales that are negative, bits that are left over and not 0. Other scales that Encode does not
  // write can do no harm, and −2^(bits − 1), which it does not write either, is a code like others.
  absl::Status Check(absl::string_view bytes, size_t count) const final;
  void AddTo(absl::string_view bytes, size_t count, float weight, CoordinateRange range,
             absl::Span<float> accumulator) const final;
  bool lossless() const final { return false; }

 protected:
  static constexpr size_t kMostAtOnce = 256;

  // `bits` is 1, 4 or 8, `block` a multiple of 8.
  BlockFormat(size_t bits, size_t block);

 private:
  virtual absl::string_view name() const = 0;  // of the stage, for errors
  // Of one block, at least one value. Not finite: so is a value.
  virtual float ScaleOf(absl::Span<const float> values) const = 0;
  // codes[i] for values[i], of a block with this scale, which is finite and not 0. At most
  // kMostAtOnce values.
  virtual void Quantise(absl::Span<const float> values, float scale, Rng& rng,
                        int8_t* codes) const = 0;

  size_t ScaleBytes(size_t count) const;
  size_t CodeBytes(size_t count) const;

  const size_t bits_;
  const size_t block_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_BLOCK_FORMAT_H_
