#include "common/codec/error_feedback.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/codec/codec.h"
#include "common/codec/update_payload.h"
#include "common/codec/value_check.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// x += factor·kept, or nothing at all if no server would take that.
void AddKept(float factor, absl::Span<const float> kept, absl::Span<float> x) {
  bool allowed = true;
  for (size_t i = 0; i < x.size(); ++i) allowed &= IsAllowed(x[i] + factor * kept[i]);
  if (allowed) return AddScaled(factor, kept, x);
  log::Warning("error feedback: what was kept back is dropped: with it the update is no model's");
}

// Nothing where it is of another layout or task.
const Residual* Usable(const Residual* before, const ParamVector& delta, int64_t task) {
  if (before == nullptr || before->task != task) return nullptr;
  return before->values.layout()->digest() == delta.layout()->digest() ? before : nullptr;
}

// Momentum factor masking.
void ClearSent(const DeltaPayload& sent, absl::Span<float> momentum) {
  std::vector<float> values(momentum.size());
  sent.AddTo(1.0F, {0, std::ssize(momentum)}, absl::MakeSpan(values));
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] != 0) momentum[i] = 0;
  }
}

}  // namespace

void ErrorFeedbackOptions::Describe(config::Fields<ErrorFeedbackOptions>& fields) {
  fields
      .Add("momentum", &ErrorFeedbackOptions::momentum,
           "of a client's updates, until they are sent (momentum correction); 0: none")
      .Min(0)
      .LessThan(1);
}

absl::StatusOr<EncodedUpdate> EncodeWithFeedback(const Codec& codec, ErrorFeedback feedback,
                                                 ParamVector delta, int64_t num_examples,
                                                 const Residual* before,
                                                 const CodecContext& context) {
  EncodedUpdate update;
  if (feedback.weights == ErrorFeedback::kOff) {
    update.payload = EncodeUpdate(codec, delta, context);
    return update;
  }
  const int64_t weight =
      feedback.weights == ErrorFeedback::kByExamples ? std::max<int64_t>(num_examples, 1) : 1;
  before = Usable(before, delta, context.task);
  const double factor =
      before == nullptr ? 0 : static_cast<double>(before->weight) / static_cast<double>(weight);
  const absl::Span<float> x = delta.trainable();
  ParamVector momentum;
  if (feedback.momentum > 0) {
    if (before != nullptr && !before->momentum.empty()) {
      AddKept(static_cast<float>(feedback.momentum * factor), before->momentum.trainable(), x);
    }
    if (context.mask != nullptr) ClearPruned(*context.mask, 0, x);
    momentum = delta.Clone();
    std::fill(momentum.buffers().begin(), momentum.buffers().end(), 0.0F);
  }
  if (before != nullptr) AddKept(static_cast<float>(factor), before->values.trainable(), x);
  if (context.mask != nullptr) ClearPruned(*context.mask, 0, x);

  update.payload = EncodeUpdate(codec, delta, context);
  const size_t codec_bytes = update.payload.size() - delta.buffers().size() * sizeof(float);
  const auto decoded = codec.Decode(update.payload.substr(0, codec_bytes), context);
  if (!decoded.ok()) {
    return absl::InternalError(
        absl::StrCat("the codec cannot read what it wrote: ", decoded.status().message()));
  }
  if (!momentum.empty()) ClearSent(**decoded, momentum.trainable());
  (*decoded)->AddTo(-1.0F, {0, static_cast<int64_t>(x.size())}, x);
  std::fill(delta.buffers().begin(), delta.buffers().end(), 0.0F);
  if (const absl::Status finite = CheckFinite(*delta.layout(), x); !finite.ok()) {
    log::Warning("error feedback: the residual begins anew", {{"error", finite}});
    return update;
  }
  update.residual = Residual{.values = std::move(delta),
                             .weight = weight,
                             .task = context.task,
                             .momentum = std::move(momentum)};
  return update;
}

}  // namespace tributary
