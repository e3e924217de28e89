// OuterMomentumOptimizer: CO2's outer step (Sun et al. 2024, arXiv 2401.16265): a momentum in
// which stale deltas count less, and which is clipped.
//
//   m ← clip(β·m + Δ/Λ)      w ← w + γ·m
//
//   m  0 before the first step    β  momentum    γ  learning_rate
//   Λ  the penalty: 1, or 1 + the updates' mean staleness
//
// The clip bounds each value, or the L2 norm of each tensor (which keeps its direction); what is
// remembered is the clipped m. In the authors' code Λ is a constant and the clip has no effect.
#ifndef TRIBUTARY_AGGREGATORS_OPTIMIZE_OUTER_MOMENTUM_H_
#define TRIBUTARY_AGGREGATORS_OPTIMIZE_OUTER_MOMENTUM_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregators/optimize/server_optimizer.h"
#include "common/config/schema.h"

namespace tributary {

struct OuterMomentumOptions {
  double learning_rate = 1.0;
  double momentum = 0.5;
  std::string penalty = "staleness";
  std::optional<double> clip_value;
  std::optional<double> clip_norm;

  static void Describe(config::Fields<OuterMomentumOptions>& fields);
  absl::Status Validate() const;  // not both clips
};

class OuterMomentumOptimizer final : public ServerOptimizer {
 public:
  using Options = OuterMomentumOptions;

  static absl::StatusOr<std::unique_ptr<OuterMomentumOptimizer>> Create(const Options& options,
                                                                        const OptimizerDeps& deps);

  absl::Status Step(absl::Span<float> delta, const DeltaOrigin& origin) override;
  // w ← w + γ·Δ/Λ
  absl::Status StepBesideMomentum(absl::Span<float> delta, const DeltaOrigin& origin) override;
  // The momentum is projected.
  absl::Status BeginEpoch(const Project& project) override;
  double rate() const override { return options_.learning_rate; }
  Effect effect() const override { return Effect::kReshapes; }
  StateRefs State() override { return {.vectors = {{"momentum", &momentum_}}, .scalars = {}}; }

 private:
  OuterMomentumOptimizer(const Options& options, const OptimizerDeps& deps)
      : options_(options), deps_(deps) {}
  double Share(const DeltaOrigin& origin) const;  // 1/Λ
  void ClipMomentum();

  const Options options_;
  const OptimizerDeps deps_;
  ParamVector momentum_;  // m; empty before the first step
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_OPTIMIZE_OUTER_MOMENTUM_H_
