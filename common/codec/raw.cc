#include "common/codec/raw.h"

#include <utility>

#include "common/check.h"
#include "common/codec/dense_payload.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<Codec>> RawCodec::Create(const Options&) {
  return std::make_unique<RawCodec>();
}

std::string RawCodec::Encode(absl::Span<const float> delta, const CodecContext& context) const {
  TRIB_CHECK(static_cast<int64_t>(delta.size()) == context.layout->trainable_size());
  return FloatsToBytes(delta);
}

absl::StatusOr<std::unique_ptr<const DeltaPayload>> RawCodec::Decode(
    std::string bytes, const CodecContext& context) const {
  return DecodeElementwise<Float32Element>("raw", std::move(bytes), context.layout);
}

}  // namespace tributary
