#include "common/codec/update_payload.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::Status CheckInfo(const UpdateInfo& info) {
  if (info.num_examples < 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("num_examples: must be at least 1, found ", info.num_examples));
  }
  if (info.local_steps < 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("local_steps: must be at least 1, found ", info.local_steps));
  }
  return absl::OkStatus();
}

}  // namespace

std::string EncodeUpdate(const Codec& codec, const ParamVector& delta,
                         const CodecContext& context) {
  TRIB_CHECK(delta.layout()->digest() == context.layout->digest());
  std::string payload = codec.Encode(delta.trainable(), context);
  const absl::Span<const float> buffers = delta.buffers();
  payload.append(reinterpret_cast<const char*>(buffers.data()), buffers.size() * sizeof(float));
  return payload;
}

absl::StatusOr<Update> DecodeCheckedUpdate(const Codec& codec, const UpdateInfo& info,
                                           PayloadBytes payload, const CodecContext& context) {
  TRIB_RETURN_IF_ERROR(CheckInfo(info));
  const ParamLayout& layout = *context.layout;
  const auto buffer_size = static_cast<size_t>(layout.buffer_size());
  const size_t buffer_bytes = buffer_size * sizeof(float);
  if (payload.size() < buffer_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the payload has ", payload.size(),
                                                   " bytes, less than the ", buffer_bytes,
                                                   " of the layout's buffers"));
  }
  Update update{.info = info};
  const size_t split = payload.size() - buffer_bytes;
  update.buffers.resize(buffer_size);
  TRIB_RETURN_IF_ERROR(payload.Read(
      split, absl::MakeSpan(reinterpret_cast<char*>(update.buffers.data()), buffer_bytes)));
  payload.Truncate(split);
  TRIB_ASSIGN_OR_RETURN(update.delta, codec.Decode(std::move(payload), context));
  return update;
}

absl::StatusOr<Update> DecodeUpdate(const Codec& codec, const UpdateInfo& info,
                                    PayloadBytes payload, const CodecContext& context) {
  TRIB_ASSIGN_OR_RETURN(Update update,
                        DecodeCheckedUpdate(codec, info, std::move(payload), context));
  TRIB_RETURN_IF_ERROR(update.delta->CheckFinite());
  const ParamLayout& layout = *context.layout;
  for (size_t i = 0; i < update.buffers.size(); ++i) {
    if (std::isfinite(update.buffers[i])) continue;
    const int64_t index = layout.trainable_size() + static_cast<int64_t>(i);
    return NotFiniteError(layout, index, update.buffers[i]);
  }
  return update;
}

}  // namespace tributary
