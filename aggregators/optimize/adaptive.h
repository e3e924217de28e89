// FedAdam, FedAdagrad and FedYogi: the adaptive server optimizers of FedOpt (Reddi et al. 2021,
// "Adaptive Federated Optimization", Algorithm 2), coordinate by coordinate:
//
//   m ← β₁·m + (1 − β₁)·Δ
//   v ← v + Δ²                              adagrad
//   v ← v − (1 − β₂)·Δ²·sign(v − Δ²)        yogi
//   v ← β₂·v + (1 − β₂)·Δ²                  adam
//   w ← w + η·m / (√v + τ)
//
//   Δ  delta, the negative pseudo-gradient     β₁, β₂  beta1, beta2
//   m  first moment, 0 before the first step   η       learning_rate
//   v  second moment, τ² before the first step τ       tau: how far from plain averaging
//
// As in the paper there is no bias correction. It asks for v ≥ τ² at the start; we take τ².
// Its experiments use β₁ = 0.9, β₂ = 0.99 (adagrad: β₁ = 0) and τ = 10⁻³, our defaults.
#ifndef TRIBUTARY_AGGREGATORS_OPTIMIZE_ADAPTIVE_H_
#define TRIBUTARY_AGGREGATORS_OPTIMIZE_ADAPTIVE_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregators/optimize/server_optimizer.h"
#include "common/config/schema.h"

namespace tributary {

struct AdamOptions {
  double learning_rate = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double tau = 0.001;

  static void Describe(config::Fields<AdamOptions>& fields);
};

struct AdagradOptions {
  double learning_rate = 0.01;
  double beta1 = 0.0;
  double tau = 0.001;

  static void Describe(config::Fields<AdagradOptions>& fields);
};

struct YogiOptions {
  double learning_rate = 0.01;
  double beta1 = 0.9;
  double beta2 = 0.99;
  double tau = 0.001;

  static void Describe(config::Fields<YogiOptions>& fields);
};

// The next v from v and Δ².
struct AdamRule {
  using Options = AdamOptions;
  explicit AdamRule(const Options& options)
      : keep(static_cast<float>(options.beta2)), take(static_cast<float>(1 - options.beta2)) {}
  float operator()(float v, float square) const { return keep * v + take * square; }
  const float keep, take;
};

struct AdagradRule {
  using Options = AdagradOptions;
  explicit AdagradRule(const Options&) {}
  float operator()(float v, float square) const { return v + square; }
};

struct YogiRule {
  using Options = YogiOptions;
  explicit YogiRule(const Options& options) : take(static_cast<float>(1 - options.beta2)) {}
  float operator()(float v, float square) const {
    return v > square ? v - take * square : v + (v < square ? take * square : 0.0F);
  }
  const float take;
};

template <typename Rule>
class AdaptiveOptimizer final : public ServerOptimizer {
 public:
  using Options = typename Rule::Options;

  static absl::StatusOr<std::unique_ptr<AdaptiveOptimizer>> Create(const Options& options,
                                                                   const OptimizerDeps& deps);

  absl::Status Step(absl::Span<float> delta, const DeltaOrigin& origin) override;
  // Both moments are forgotten: a projected m over an old √v would have no meaning.
  absl::Status BeginEpoch(const Project& project) override;
  double rate() const override { return options_.learning_rate; }
  Effect effect() const override { return Effect::kReshapes; }
  StateRefs State() override {
    return {.vectors = {{"first_moment", &first_}, {"second_moment", &second_}}, .scalars = {}};
  }

 private:
  AdaptiveOptimizer(const Options& options, const OptimizerDeps& deps)
      : options_(options), deps_(deps) {}

  const Options options_;
  const OptimizerDeps deps_;
  ParamVector first_;   // m; empty before the first step
  ParamVector second_;  // v; empty before the first step
};

using AdamOptimizer = AdaptiveOptimizer<AdamRule>;
using AdagradOptimizer = AdaptiveOptimizer<AdagradRule>;
using YogiOptimizer = AdaptiveOptimizer<YogiRule>;

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_OPTIMIZE_ADAPTIVE_H_
