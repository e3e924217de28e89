#include "common/codec/fp16.h"

#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/codec/dense_payload.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<Codec>> Fp16Codec::Create(const Options&) {
  return std::make_unique<Fp16Codec>();
}

std::string Fp16Codec::Encode(absl::Span<const float> delta, const CodecContext& context) const {
  TRIB_CHECK(static_cast<int64_t>(delta.size()) == context.layout->trainable_size());
  std::string bytes(delta.size() * sizeof(uint16_t), '\0');
  char* to = bytes.data();
  for (size_t i = 0; i < delta.size(); ++i) {
    const uint16_t half = FloatToHalf(delta[i]);
    std::memcpy(to + i * sizeof(half), &half, sizeof(half));
  }
  return bytes;
}

absl::StatusOr<std::unique_ptr<const DeltaPayload>> Fp16Codec::Decode(
    std::string bytes, const CodecContext& context) const {
  return DecodeElementwise<Float16Element>("fp16", std::move(bytes), context.layout);
}

}  // namespace tributary
