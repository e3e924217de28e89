#include "common/codec/pipeline.h"

#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/codec/codec_registry.h"
#include "common/codec/dense_payload.h"
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

absl::StatusOr<std::unique_ptr<const Codec>> CreateCodec(
    const std::vector<config::Choice>& stages) {
  if (stages.size() > 1) {
    // Every registered codec says how each value is written, and a value is written once.
    for (const config::Choice& stage : stages) {
      if (stage.name == "raw") {
        return absl::InvalidArgumentError(
            "'raw' sends the values as they are and stands alone in the list");
      }
    }
    return absl::InvalidArgumentError(
        absl::StrCat("'", stages[0].name, "' and '", stages[1].name,
                     "' are both formats of a value; the list takes one of them"));
  }
  const config::Choice choice = stages.empty() ? config::Choice{.name = "raw"} : stages.front();
  TRIB_ASSIGN_OR_RETURN(std::unique_ptr<const Codec> codec, CodecRegistry().Create(choice));
  return codec;
}

std::string EncodeUpdate(const Codec& codec, const ParamVector& delta,
                         const CodecContext& context) {
  TRIB_CHECK(delta.layout()->digest() == context.layout->digest());
  std::string payload = codec.Encode(delta.trainable(), context);
  payload += FloatsToBytes(delta.buffers());
  return payload;
}

absl::StatusOr<Update> DecodeUpdate(const Codec& codec, const UpdateInfo& info, std::string payload,
                                    const CodecContext& context) {
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
  if (buffer_size > 0) std::memcpy(update.buffers.data(), payload.data() + split, buffer_bytes);
  payload.resize(split);
  TRIB_ASSIGN_OR_RETURN(update.delta, codec.Decode(std::move(payload), context));
  TRIB_RETURN_IF_ERROR(update.delta->CheckFinite());
  for (size_t i = 0; i < buffer_size; ++i) {
    if (std::isfinite(update.buffers[i])) continue;
    const int64_t index = layout.trainable_size() + static_cast<int64_t>(i);
    return NotFiniteError(layout, index, update.buffers[i]);
  }
  return update;
}

}  // namespace tributary
