// The codec "raw": float32 little-endian, nothing lost. 4 bytes a coordinate; the payload
// is the bytes that came, used in place.
#ifndef TRIBUTARY_COMMON_CODEC_RAW_H_
#define TRIBUTARY_COMMON_CODEC_RAW_H_

#include <memory>
#include <string>

#include "common/codec/codec.h"
#include "common/config/schema.h"

namespace tributary {

class RawCodec final : public Codec {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<Codec>> Create(const Options& options);

  std::string Encode(absl::Span<const float> delta, const CodecContext& context) const override;
  absl::StatusOr<std::unique_ptr<const DeltaPayload>> Decode(
      std::string bytes, const CodecContext& context) const override;
  bool lossless() const override { return true; }
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_RAW_H_
