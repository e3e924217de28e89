#include "common/codec/pipeline.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/codec/codec_registry.h"
#include "common/codec/dense_payload.h"
#include "common/codec/raw.h"
#include "common/codec/sparse_payload.h"
#include "common/codec/value_check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

enum class Form : char { kStages = 0, kRaw = 1 };

absl::Status CheckOrder(const std::vector<CodecPipeline::NamedStage>& stages) {
  using Kind = CodecStage::Kind;
  for (size_t i = 1; i < stages.size(); ++i) {
    const auto& [before, first] = stages[i - 1];
    const auto& [name, second] = stages[i];
    if (first->kind() == Kind::kCompressor) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", before, "' compresses bytes and is the last of the list, found '", name, "' after"));
    }
    if (first->kind() == Kind::kFormat && second->kind() == Kind::kFormat) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", before, "' and '", name, "' are both formats of a value; the list takes one"));
    }
    if (first->kind() == Kind::kFormat && second->kind() == Kind::kSelector) {
      return absl::InvalidArgumentError(absl::StrCat("'", name, "' chooses values and '", before,
                                                     "' writes them: '", name, "' comes before"));
    }
    if (name == "masked") {
      return absl::InvalidArgumentError(absl::StrCat(
          "'masked' leaves out what the job has pruned and is the first of the list, found '",
          before, "' before it: it would choose values that never travel"));
    }
    for (size_t j = 0; j < i; ++j) {
      if (stages[j].name != name) continue;
      return absl::InvalidArgumentError(absl::StrCat("'", name, "' is there twice"));
    }
  }
  return absl::OkStatus();
}

// What is left of the trainable coordinates after each selector.
class Selection {
 public:
  explicit Selection(const CodecContext& context) : rng_(context.rng.Split("selector")) {
    domain_.size = static_cast<size_t>(context.layout->trainable_size());
    domain_.mask = context.mask;
    domain_.version = context.version;
    for (const ParamLayout::Tensor& tensor : context.layout->tensors()) {
      if (tensor.kind != TensorKind::kTrainable) break;
      domain_.tensor_ends.push_back(static_cast<size_t>(tensor.offset + tensor.size));
    }
    domain_.rng = rng_.Split(selectors_);
  }

  const SelectionDomain& domain() const { return domain_; }
  size_t size() const { return domain_.size; }
  // Coordinates of what is left; nothing before the first selector: all.
  Positions TakePositions() && { return *std::move(chosen_); }

  void Narrow(Positions positions) {
    size_t end = 0;
    for (size_t& tensor_end : domain_.tensor_ends) {
      while (end < positions.size() && positions[end] < tensor_end) ++end;
      tensor_end = end;
    }
    if (chosen_) {
      for (uint32_t& position : positions) position = (*chosen_)[position];
    }
    domain_.size = positions.size();
    domain_.rng = rng_.Split(++selectors_);
    chosen_ = std::move(positions);
  }

 private:
  const Rng rng_;
  uint64_t selectors_ = 0;
  SelectionDomain domain_;
  std::optional<Positions> chosen_;
};

bool TooManyToSelectFrom(const ParamLayout& layout) {
  return layout.trainable_size() > std::numeric_limits<uint32_t>::max();
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Codec>> CreateCodec(const std::vector<config::Choice>& stages,
                                                         bool error_feedback) {
  std::vector<CodecPipeline::NamedStage> made;
  for (const config::Choice& stage : stages) {
    TRIB_ASSIGN_OR_RETURN(auto one, CodecRegistry().Create(stage));
    made.push_back({stage.name, std::move(one)});
  }
  return CodecPipeline::Create(std::move(made), error_feedback);
}

absl::StatusOr<std::unique_ptr<const Codec>> CodecPipeline::Create(std::vector<NamedStage> stages,
                                                                   bool error_feedback) {
  TRIB_RETURN_IF_ERROR(CheckOrder(stages));
  auto pipeline = std::unique_ptr<CodecPipeline>(new CodecPipeline);
  pipeline->error_feedback_ = error_feedback;
  pipeline->format_ = std::make_shared<RawFormat>();
  pipeline->format_name_ = "raw";
  for (auto& [name, stage] : stages) {
    if (auto* const selector = dynamic_cast<Selector*>(stage.get())) {
      pipeline->selectors_.emplace_back(selector);
    } else if (auto* const format = dynamic_cast<Format*>(stage.get())) {
      pipeline->format_.reset(format);
      pipeline->format_name_ = name;
    } else {
      auto* const compressor = dynamic_cast<Compressor*>(stage.get());
      TRIB_CHECK(compressor != nullptr);
      pipeline->compressor_.reset(compressor);
    }
    static_cast<void>(stage.release());
  }
  return pipeline;
}

bool CodecPipeline::lossless() const {
  return format_->lossless() && std::all_of(selectors_.begin(), selectors_.end(),
                                            [](const auto& s) { return s->lossless(); });
}

std::string CodecPipeline::Encode(absl::Span<const float> delta,
                                  const CodecContext& context) const {
  TRIB_CHECK(static_cast<int64_t>(delta.size()) == context.layout->trainable_size());
  if (IsFormatAlone()) return EncodeBody(delta, context);
  const size_t raw_bytes = delta.size() * sizeof(float);
  if (!TooManyToSelectFrom(*context.layout)) {
    std::string body = EncodeBody(delta, context);
    if (compressor_ != nullptr) body = compressor_->Compress(body);
    if (body.size() <= raw_bytes) {
      body.insert(body.begin(), static_cast<char>(Form::kStages));
      return body;
    }
  }
  std::string bytes(1, static_cast<char>(Form::kRaw));
  bytes.append(reinterpret_cast<const char*>(delta.data()), raw_bytes);
  return bytes;
}

std::string CodecPipeline::EncodeBody(absl::Span<const float> delta,
                                      const CodecContext& context) const {
  std::string body;
  Selection selection(context);
  std::vector<float> chosen;
  absl::Span<const float> values = delta;
  for (const auto& selector : selectors_) {
    Positions positions = selector->Select(values, selection.domain(), body);
    const float scale =
        error_feedback_ ? 1.0F : selector->Unbiased(values.size(), positions.size());
    // In place from the second selector on: a position is never below its index.
    if (chosen.empty()) chosen.resize(positions.size());
    for (size_t i = 0; i < positions.size(); ++i) chosen[i] = scale * values[positions[i]];
    chosen.resize(positions.size());
    values = chosen;
    selection.Narrow(std::move(positions));
  }
  format_->Encode(values, context.rng.Split("format"), body);
  return body;
}

absl::StatusOr<std::unique_ptr<const DeltaPayload>> CodecPipeline::Decode(
    PayloadBytes payload, const CodecContext& context) const {
  if (IsFormatAlone()) {
    return DensePayload::Create(context.layout, format_name_, format_, std::move(payload));
  }
  if (payload.size() == 0) return absl::InvalidArgumentError("codec: the payload has no form byte");
  char form = 0;
  TRIB_RETURN_IF_ERROR(payload.Read(0, {&form, 1}));
  if (form == static_cast<char>(Form::kRaw)) {
    return DensePayload::Create(context.layout, "raw", std::make_shared<RawFormat>(),
                                std::move(payload), 1);
  }
  if (form != static_cast<char>(Form::kStages)) {
    return absl::InvalidArgumentError(
        absl::StrCat("codec: the form byte is ", static_cast<uint8_t>(form), "; allowed: 0 and 1"));
  }
  if (TooManyToSelectFrom(*context.layout)) {
    return absl::InvalidArgumentError("codec: a layout this large travels in raw");
  }
  TRIB_ASSIGN_OR_RETURN(std::string bytes, std::move(payload).Take());
  if (compressor_ == nullptr) return DecodeBody(std::move(bytes), 1, context);
  // No encoder keeps what does not fit into the bytes of raw, but a body that would have been
  // larger may still have been compressed to less: one bit and 5 bytes a value are above any.
  const size_t most = 64 + 6 * static_cast<size_t>(context.layout->trainable_size());
  TRIB_ASSIGN_OR_RETURN(std::string body,
                        compressor_->Decompress(absl::string_view(bytes).substr(1), most));
  return DecodeBody(std::move(body), 0, context);
}

std::unique_ptr<PayloadCheck> CodecPipeline::NewCheck(uint64_t size,
                                                      const CodecContext& context) const {
  const int64_t count = context.layout->trainable_size();
  if (!IsFormatAlone() || format_->ValueBytes() == 0 ||
      size != format_->BytesOf(static_cast<size_t>(count))) {
    return nullptr;
  }
  return std::make_unique<ValueCheck>(context.layout, format_, CoordinateRange{0, count});
}

absl::StatusOr<std::unique_ptr<const DeltaPayload>> CodecPipeline::DecodeBody(
    std::string bytes, size_t offset, const CodecContext& context) const {
  if (selectors_.empty()) {
    return DensePayload::Create(context.layout, format_name_, format_, std::move(bytes), offset);
  }
  absl::string_view rest = absl::string_view(bytes).substr(offset);
  Selection selection(context);
  for (const auto& selector : selectors_) {
    TRIB_ASSIGN_OR_RETURN(Positions positions, selector->Read(rest, selection.domain()));
    selection.Narrow(std::move(positions));
  }
  const size_t count = selection.size();
  if (rest.size() != format_->BytesOf(count)) {
    return absl::InvalidArgumentError(absl::StrCat(format_name_, ": ", count, " values take ",
                                                   format_->BytesOf(count), " bytes, found ",
                                                   rest.size()));
  }
  TRIB_RETURN_IF_ERROR(format_->Check(rest, count));
  std::vector<float> values(count);
  format_->AddTo(rest, count, 1.0F, {0, static_cast<int64_t>(count)}, absl::MakeSpan(values));
  return std::make_unique<SparsePayload>(context.layout, std::move(selection).TakePositions(),
                                         std::move(values));
}

}  // namespace tributary
