#include "common/codec/error_feedback.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/codec/codec.h"
#include "common/codec/update_payload.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// x += factor·e, or nothing at all if that would not be finite.
void AddResidual(float factor, absl::Span<const float> e, absl::Span<float> x) {
  bool finite = true;
  for (size_t i = 0; i < x.size(); ++i) finite &= std::isfinite(x[i] + factor * e[i]);
  if (finite) return AddScaled(factor, e, x);
  log::Warning("error feedback: the residual is dropped: with it the update is not finite");
}

}  // namespace

absl::StatusOr<EncodedUpdate> EncodeWithFeedback(const Codec& codec, ErrorFeedback feedback,
                                                 ParamVector delta, int64_t num_examples,
                                                 const Residual* before,
                                                 const CodecContext& context) {
  EncodedUpdate update;
  if (feedback == ErrorFeedback::kOff) {
    update.payload = EncodeUpdate(codec, delta, context);
    return update;
  }
  const int64_t weight =
      feedback == ErrorFeedback::kByExamples ? std::max<int64_t>(num_examples, 1) : 1;
  const absl::Span<float> x = delta.trainable();
  if (before != nullptr && before->task == context.task &&
      before->values.layout()->digest() == delta.layout()->digest()) {
    const double factor = static_cast<double>(before->weight) / static_cast<double>(weight);
    AddResidual(static_cast<float>(factor), before->values.trainable(), x);
  }
  if (context.mask != nullptr) ClearPruned(*context.mask, 0, x);

  update.payload = EncodeUpdate(codec, delta, context);
  const size_t codec_bytes = update.payload.size() - delta.buffers().size() * sizeof(float);
  const auto decoded = codec.Decode(update.payload.substr(0, codec_bytes), context);
  if (!decoded.ok()) {
    return absl::InternalError(
        absl::StrCat("the codec cannot read what it wrote: ", decoded.status().message()));
  }
  (*decoded)->AddTo(-1.0F, {0, static_cast<int64_t>(x.size())}, x);
  std::fill(delta.buffers().begin(), delta.buffers().end(), 0.0F);
  if (const absl::Status finite = CheckFinite(*delta.layout(), x); !finite.ok()) {
    log::Warning("error feedback: the residual begins anew", {{"error", finite}});
    return update;
  }
  update.residual = Residual{.values = std::move(delta), .weight = weight, .task = context.task};
  return update;
}

}  // namespace tributary
