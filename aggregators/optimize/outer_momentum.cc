#include "aggregators/optimize/outer_momentum.h"

#include <algorithm>
#include <cmath>

#include "common/status_macros.h"

namespace tributary {

void OuterMomentumOptions::Describe(config::Fields<OuterMomentumOptions>& fields) {
  fields.Add("learning_rate", &OuterMomentumOptions::learning_rate, "factor on the momentum")
      .GreaterThan(0);
  fields.Add("momentum", &OuterMomentumOptions::momentum, "share of the momentum that a step keeps")
      .Min(0)
      .LessThan(1);
  fields
      .Add("penalty", &OuterMomentumOptions::penalty,
           "what a delta is divided by: 1 + the mean staleness of its updates, or nothing")
      .OneOf({"staleness", "none"});
  fields
      .Add("clip_value", &OuterMomentumOptions::clip_value,
           "largest magnitude of a value of the momentum; absent: not clipped")
      .GreaterThan(0);
  fields
      .Add("clip_norm", &OuterMomentumOptions::clip_norm,
           "instead: largest L2 norm of each tensor of the momentum")
      .GreaterThan(0);
}

absl::Status OuterMomentumOptions::Validate() const {
  if (!clip_value || !clip_norm) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "at most one of clip_value and clip_norm is allowed, found both");
}

absl::StatusOr<std::unique_ptr<OuterMomentumOptimizer>> OuterMomentumOptimizer::Create(
    const Options& options, const OptimizerDeps& deps) {
  return std::unique_ptr<OuterMomentumOptimizer>(new OuterMomentumOptimizer(options, deps));
}

double OuterMomentumOptimizer::Share(const DeltaOrigin& origin) const {
  return options_.penalty == "staleness" ? 1 / (1 + origin.mean_staleness) : 1.0;
}

void OuterMomentumOptimizer::ClipMomentum() {
  const absl::Span<float> momentum = momentum_.trainable();
  if (options_.clip_value) {
    const auto most = static_cast<float>(*options_.clip_value);
    for (float& value : momentum) value = std::clamp(value, -most, most);
  }
  if (!options_.clip_norm) return;
  for (const ParamLayout::Tensor& tensor : deps_.layout->tensors()) {
    if (tensor.offset >= deps_.layout->trainable_size()) break;
    const absl::Span<float> values =
        momentum.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size));
    const double norm = std::sqrt(SquaredNorm(values, deps_.parallel));
    if (norm > *options_.clip_norm) Scale(static_cast<float>(*options_.clip_norm / norm), values);
  }
}

absl::Status OuterMomentumOptimizer::Step(absl::Span<float> delta, const DeltaOrigin& origin) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  TRIB_RETURN_IF_ERROR(EnsureState(deps_.layout, 0.0F, "momentum", momentum_));
  const auto keep = static_cast<float>(options_.momentum);
  const auto take = static_cast<float>(Share(origin));
  const auto rate = static_cast<float>(options_.learning_rate);
  const absl::Span<float> momentum = momentum_.trainable();
  const int64_t size = deps_.layout->trainable_size();
  ForRanges(deps_.parallel, size, [&](CoordinateRange range) {
    for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
      momentum[i] = keep * momentum[i] + take * delta[i];
    }
  });
  ClipMomentum();
  ForRanges(deps_.parallel, size, [&](CoordinateRange range) {
    for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
      delta[i] = rate * momentum[i];
    }
  });
  return absl::OkStatus();
}

absl::Status OuterMomentumOptimizer::StepBesideMomentum(absl::Span<float> delta,
                                                        const DeltaOrigin& origin) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  Scale(static_cast<float>(options_.learning_rate * Share(origin)), delta);
  return absl::OkStatus();
}

absl::Status OuterMomentumOptimizer::BeginEpoch(const Project& project) {
  return momentum_.empty() ? absl::OkStatus() : project(momentum_.trainable());
}

}  // namespace tributary
