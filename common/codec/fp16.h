// The codec "fp16": IEEE 754 binary16 little-endian, 2 bytes a coordinate.
//
// Rounded to the nearest, ties to even: the error is at most 2^-11 of the value, or 2^-25
// below 2^-14. Finite values beyond ±65504 saturate to it: a delta that large is no longer
// learning, and an infinity would cost the whole update.
#ifndef TRIBUTARY_COMMON_CODEC_FP16_H_
#define TRIBUTARY_COMMON_CODEC_FP16_H_

#include <memory>
#include <string>

#include "common/codec/codec.h"
#include "common/config/schema.h"

namespace tributary {

class Fp16Codec final : public Codec {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<Codec>> Create(const Options& options);

  std::string Encode(absl::Span<const float> delta, const CodecContext& context) const override;
  absl::StatusOr<std::unique_ptr<const DeltaPayload>> Decode(
      std::string bytes, const CodecContext& context) const override;
  bool lossless() const override { return false; }
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_FP16_H_
