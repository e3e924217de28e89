// An update's whole payload as it is uploaded and spooled (docs/wire_format.md):
//
//   [ codec bytes of the trainable delta | buffers, float32 little-endian ]
//
// The split point is known to both ends: it is payload size − 4·buffer_size.
#ifndef TRIBUTARY_COMMON_CODEC_UPDATE_PAYLOAD_H_
#define TRIBUTARY_COMMON_CODEC_UPDATE_PAYLOAD_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/params/param_vector.h"

namespace tributary {

// `delta`: trainable = trained − base, buffers = trained values.
std::string EncodeUpdate(const Codec& codec, const ParamVector& delta, const CodecContext& context);

// Checks everything. InvalidArgument: size or form; OutOfRange: a value that is not finite;
// FailedPrecondition: num_examples or local_steps below 1; DataLoss: the payload's file cannot
// be read.
absl::StatusOr<Update> DecodeUpdate(const Codec& codec, const UpdateInfo& info,
                                    PayloadBytes payload, const CodecContext& context);

// The same for a payload that DecodeUpdate has passed before: the values are not looked at again.
absl::StatusOr<Update> DecodeCheckedUpdate(const Codec& codec, const UpdateInfo& info,
                                           PayloadBytes payload, const CodecContext& context);

// Checks a payload of `payload_bytes` bytes while they come: what the codec can judge piece by
// piece is judged then, and only other codecs' payloads are read again at the end.
// Thread-compatible.
class UpdateCheck {
 public:
  UpdateCheck(std::shared_ptr<const Codec> codec, const UpdateInfo& info, CodecContext context,
              uint64_t payload_bytes);

  // The next bytes of the payload, from its first on; together no more than it has.
  void Take(absl::string_view bytes);

  // What DecodeUpdate says of the `payload`, whether or not Take has seen all of it.
  absl::Status Finish(PayloadBytes payload);

 private:
  const std::shared_ptr<const Codec> codec_;
  const UpdateInfo info_;
  const CodecContext context_;
  const uint64_t payload_bytes_;
  uint64_t split_ = 0;  // where the buffers begin
  uint64_t taken_ = 0;
  std::unique_ptr<PayloadCheck> delta_;  // null: the payload must be seen whole
  std::unique_ptr<PayloadCheck> buffers_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_UPDATE_PAYLOAD_H_
