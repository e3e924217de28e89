#include "common/codec/update_payload.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/codec/raw.h"
#include "common/codec/value_check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::Status CheckInfo(const UpdateInfo& info) {
  const auto check = [](absl::string_view name, int64_t count) {
    if (count >= 1 && count <= kCountLimit) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat(name, ": must be 1 to ", kCountLimit, ", found ", count));
  };
  TRIB_RETURN_IF_ERROR(check("num_examples", info.num_examples));
  return check("local_steps", info.local_steps);
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
    if (IsAllowed(update.buffers[i])) continue;
    const int64_t index = layout.trainable_size() + static_cast<int64_t>(i);
    return NotFiniteError(layout, index, update.buffers[i]);
  }
  return update;
}

UpdateCheck::UpdateCheck(std::shared_ptr<const Codec> codec, const UpdateInfo& info,
                         CodecContext context, uint64_t payload_bytes)
    : codec_(std::move(codec)),
      info_(info),
      context_(std::move(context)),
      payload_bytes_(payload_bytes) {
  const ParamLayout& layout = *context_.layout;
  const uint64_t buffer_bytes = static_cast<uint64_t>(layout.buffer_size()) * sizeof(float);
  if (payload_bytes < buffer_bytes) return;
  split_ = payload_bytes - buffer_bytes;
  delta_ = codec_->NewCheck(split_, context_);
  buffers_ = std::make_unique<ValueCheck>(context_.layout, std::make_shared<RawFormat>(),
                                          CoordinateRange{layout.trainable_size(), layout.size()});
}

void UpdateCheck::Take(absl::string_view bytes) {
  TRIB_CHECK(bytes.size() <= payload_bytes_ - taken_);
  if (delta_ != nullptr) {
    const uint64_t of_delta = std::min<uint64_t>(split_ - std::min(taken_, split_), bytes.size());
    delta_->Take(bytes.substr(0, of_delta));
    buffers_->Take(bytes.substr(of_delta));
  }
  taken_ += bytes.size();
}

absl::Status UpdateCheck::Finish(PayloadBytes payload) {
  if (delta_ == nullptr || taken_ < payload_bytes_) {
    return DecodeUpdate(*codec_, info_, std::move(payload), context_).status();
  }
  TRIB_RETURN_IF_ERROR(CheckInfo(info_));
  TRIB_RETURN_IF_ERROR(delta_->Finish());
  return buffers_->Finish();
}

}  // namespace tributary
