// An update's whole payload as it is uploaded and spooled (docs/wire_format.md):
//
//   [ codec bytes of the trainable delta | buffers, float32 little-endian ]
//
// The split point is known to both ends: it is payload size − 4·buffer_size.
#ifndef TRIBUTARY_COMMON_CODEC_UPDATE_PAYLOAD_H_
#define TRIBUTARY_COMMON_CODEC_UPDATE_PAYLOAD_H_

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

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_UPDATE_PAYLOAD_H_
