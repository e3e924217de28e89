// LocalOptimizer: a client's own optimizer, in one fused pass over the flat parameters.
//
// w: parameters, g: gradient, η: learning_rate, λ: weight_decay, t: steps from 1.
//   sgd    g += λ·w;  v = momentum·v + g;  w −= η·v          (Polyak 1964; v starts at 0)
//   adam   g += λ·w;  m = β1·m + (1 − β1)·g;  s = β2·s + (1 − β2)·g²
//          w −= η · m/(1 − β1ᵗ) / (√(s/(1 − β2ᵗ)) + ε)       (Kingma & Ba 2015, Algorithm 1)
//   adamw  w −= η·λ·w, then adam with λ = 0                  (Loshchilov & Hutter 2019)
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_OPTIMIZER_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_OPTIMIZER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/config/schema.h"

namespace tributary {

// Thread-compatible.
class LocalOptimizer {
 public:
  // `choice` is TrainSpec::optimizer. InvalidArgument: its name or options.
  static absl::StatusOr<std::unique_ptr<LocalOptimizer>> Create(const config::Choice& choice);

  virtual ~LocalOptimizer() = default;

  // One step. `gradients` are pieces of the gradient, one after another; together they
  // are as long as `params`, which has the same size in every call.
  virtual void Step(absl::Span<const absl::Span<const float>> gradients,
                    absl::Span<float> params) = 0;

  // The rate of the steps to come: the options' times `factor`, which is above 0.
  virtual void SetRateFactor(double factor) = 0;

  virtual double learning_rate() const = 0;  // of the steps to come
};

// gradient += mu · (params − start): the gradient of FedProx's penalty mu/2 · |w − w⁰|²
// (Li et al. 2020, equation 2). The three have the same size.
void AddProximal(float mu, absl::Span<const float> params, absl::Span<const float> start,
                 absl::Span<float> gradient);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_OPTIMIZER_H_
