// MomentumOptimizer: FedAvgM (Hsu, Qi & Brown 2019, "Measuring the effects of non-identical
// data distribution for federated visual classification", section 3.2).
//
//   v ← β·v + delta      w ← w + η·v
//
//   v  velocity, zero before the first step
//   β  momentum, η  learning_rate
//
// The paper subtracts and defines its update as base − trained; ours is trained − base.
#ifndef TRIBUTARY_AGGREGATORS_OPTIMIZE_MOMENTUM_H_
#define TRIBUTARY_AGGREGATORS_OPTIMIZE_MOMENTUM_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregators/optimize/server_optimizer.h"
#include "common/config/schema.h"

namespace tributary {

struct MomentumOptions {
  double learning_rate = 1.0;  // η
  double momentum = 0.9;       // β

  static void Describe(config::Fields<MomentumOptions>& fields);
};

class MomentumOptimizer final : public ServerOptimizer {
 public:
  using Options = MomentumOptions;

  static absl::StatusOr<std::unique_ptr<MomentumOptimizer>> Create(const Options& options,
                                                                   const OptimizerDeps& deps);

  absl::Status Step(absl::Span<float> delta, const DeltaOrigin& origin) override;
  // w ← w + η·delta
  absl::Status StepBesideMomentum(absl::Span<float> delta, const DeltaOrigin& origin) override;
  // The velocity is projected.
  absl::Status BeginEpoch(const Project& project) override;
  double rate() const override { return options_.learning_rate; }
  Effect effect() const override { return Effect::kReshapes; }
  StateRefs State() override { return {.vectors = {{"velocity", &velocity_}}, .scalars = {}}; }

 private:
  MomentumOptimizer(const Options& options, const OptimizerDeps& deps)
      : options_(options), deps_(deps) {}

  const Options options_;
  const OptimizerDeps deps_;
  ParamVector velocity_;  // empty before the first step
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_OPTIMIZE_MOMENTUM_H_
