// FedExpOptimizer: FedExP (Jhunjhunwala, Wang & Joshi 2023, "FedExP: speeding up federated
// averaging via extrapolation", Algorithm 1): the more the updates differ, the further the
// server goes beyond their mean.
//
//   w ← w + η·Δ      η = max(1, s / (2·(‖Δ‖² + ε)))
//
//   Δ  the delta, a mean of updates    s  the same mean of their squared norms    ε  epsilon
//
// The paper weighs updates alike; s takes the weights that Δ has. Both norms are those before any
// transform, so that a clip is not undone.
#ifndef TRIBUTARY_AGGREGATORS_OPTIMIZE_FEDEXP_H_
#define TRIBUTARY_AGGREGATORS_OPTIMIZE_FEDEXP_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregators/optimize/server_optimizer.h"
#include "common/config/schema.h"

namespace tributary {

struct FedExpOptions {
  double epsilon = 0.001;

  static void Describe(config::Fields<FedExpOptions>& fields);
};

class FedExpOptimizer final : public ServerOptimizer {
 public:
  using Options = FedExpOptions;

  static absl::StatusOr<std::unique_ptr<FedExpOptimizer>> Create(const Options& options,
                                                                 const OptimizerDeps& deps);

  absl::Status Step(absl::Span<float> delta, const DeltaOrigin& origin) override;
  double rate() const override { return rate_; }
  bool uses_squared_norms() const override { return true; }
  Effect effect() const override { return Effect::kScales; }

 private:
  FedExpOptimizer(const Options& options, const OptimizerDeps& deps)
      : options_(options), deps_(deps) {}

  const Options options_;
  const OptimizerDeps deps_;
  double rate_ = 1.0;  // of the last step; no state: the next does not depend on it
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_OPTIMIZE_FEDEXP_H_
