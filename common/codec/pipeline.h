// CodecPipeline: the stages of a job's `codec:` list, one after the other.
//
// A format alone writes its values and nothing else. With selectors or a compressor:
//
//   [ form, 1 byte | body ]
//
// form 0: body is compressed as the list says; before that it is what each selector has to say, in
// order, then the values that passed them all, in the format. form 1: body is all values in raw,
// which the encoder takes when the stages would make more bytes than that.
#ifndef TRIBUTARY_COMMON_CODEC_PIPELINE_H_
#define TRIBUTARY_COMMON_CODEC_PIPELINE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/codec/codec.h"
#include "common/codec/stage.h"

namespace tributary {

class CodecPipeline final : public Codec {
 public:
  struct NamedStage {
    std::string name;
    std::unique_ptr<CodecStage> stage;
  };

  // InvalidArgument for an order that makes no sense, with the reason. An empty list is raw.
  static absl::StatusOr<std::unique_ptr<const Codec>> Create(std::vector<NamedStage> stages,
                                                             bool error_feedback);

  std::string Encode(absl::Span<const float> delta, const CodecContext& context) const override;
  absl::StatusOr<std::unique_ptr<const DeltaPayload>> Decode(
      PayloadBytes bytes, const CodecContext& context) const override;
  std::unique_ptr<PayloadCheck> NewCheck(uint64_t size, const CodecContext& context) const override;
  bool lossless() const override;

 private:
  CodecPipeline() = default;
  bool IsFormatAlone() const { return selectors_.empty() && compressor_ == nullptr; }
  std::string EncodeBody(absl::Span<const float> delta, const CodecContext& context) const;
  absl::StatusOr<std::unique_ptr<const DeltaPayload>> DecodeBody(std::string bytes, size_t offset,
                                                                 const CodecContext& context) const;

  std::vector<std::unique_ptr<const Selector>> selectors_;
  std::shared_ptr<const Format> format_;
  std::string format_name_;
  std::unique_ptr<const Compressor> compressor_;  // null: none
  bool error_feedback_ = false;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_PIPELINE_H_
