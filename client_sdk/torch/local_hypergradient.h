// LocalHypergradient: FedHyper-CL (Wang et al. 2024, arXiv 2310.03156): a client's learning rate
// that follows the product of each of its steps with the one before, and with the global update.
//
//   displacement  r ← clip(r·min(1.1, 1 + κ·(⟨s, s'⟩ + c·⟨s, Δ⟩)))     clip to [1/γ, γ]
//   cosine        the same with products divided by both norms
//   gradient      β₀·r ← clip(β₀·r + κ·(⟨g, g'⟩ − c·⟨g, Δ⟩))           clip to [β₀/γ, β₀·γ]
//
//   r   the rate as a factor on β₀, 1 at first         s, s'  this step's displacement, the last's
//   β₀  the learning rate of the work order            g, g'  −s and −s' divided by their rates
//   Δ   the global update of the last version, 0 if    κ      gain
//       not known; s' of the first product             c      global_weight, 1/steps by default
//   γ   bound                                                 (it brings Δ to the scale of a step)
//
// `displacement` is what the authors' code does, after every step but the first of a pass over the
// data (with c = 0.1 over the number of clients). `gradient` is the paper's equation 20, which
// differs from its own algorithm and from that code. Its products are in units of squared
// gradients, so that small rates leap to a bound at once.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_HYPERGRADIENT_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_HYPERGRADIENT_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

// For one work order. Thread-compatible.
class LocalHypergradient {
 public:
  // `global_update`: Δ, as long as every displacement; empty: not known. `steps` of the order >= 1.
  LocalHypergradient(const LocalHypergradientOptions& options, double learning_rate, int64_t steps,
                     std::vector<float> global_update);

  // After a step that moved the parameters by `displacement`: r of the next step.
  double Follow(absl::Span<const float> displacement, bool first_of_pass);

 private:
  enum class Rule { kDisplacement, kCosine, kGradient };

  double Product(absl::Span<const float> displacement, absl::Span<const float> other) const;

  const Rule rule_;
  const double bound_;
  const double gain_;
  const double global_weight_;
  const double learning_rate_;  // β₀
  const std::vector<float> global_update_;
  std::vector<float> previous_;  // s'; empty: none
  double previous_factor_ = 1;   // r of that step
  double factor_ = 1;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_HYPERGRADIENT_H_
