#include "aggregators/optimize/momentum.h"

#include "common/status_macros.h"

namespace tributary {

void MomentumOptions::Describe(config::Fields<MomentumOptions>& fields) {
  fields.Add("learning_rate", &MomentumOptions::learning_rate, "factor on the velocity")
      .GreaterThan(0);
  fields.Add("momentum", &MomentumOptions::momentum, "share of the velocity that a step keeps")
      .Min(0)
      .LessThan(1);
}

absl::StatusOr<std::unique_ptr<MomentumOptimizer>> MomentumOptimizer::Create(
    const Options& options, const OptimizerDeps& deps) {
  return std::unique_ptr<MomentumOptimizer>(new MomentumOptimizer(options, deps));
}

absl::Status MomentumOptimizer::Step(absl::Span<float> delta, const DeltaOrigin&) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  TRIB_RETURN_IF_ERROR(EnsureState(deps_.layout, 0.0F, "velocity", velocity_));
  const auto keep = static_cast<float>(options_.momentum);
  const auto rate = static_cast<float>(options_.learning_rate);
  const absl::Span<float> velocity = velocity_.trainable();
  ForRanges(deps_.parallel, deps_.layout->trainable_size(), [&](CoordinateRange range) {
    for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
      velocity[i] = keep * velocity[i] + delta[i];
      delta[i] = rate * velocity[i];
    }
  });
  return absl::OkStatus();
}

absl::Status MomentumOptimizer::StepBesideMomentum(absl::Span<float> delta, const DeltaOrigin&) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  Scale(static_cast<float>(options_.learning_rate), delta);
  return absl::OkStatus();
}

absl::Status MomentumOptimizer::BeginEpoch(const Project& project) {
  return velocity_.empty() ? absl::OkStatus() : project(velocity_.trainable());
}

}  // namespace tributary
