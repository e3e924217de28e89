// HypergradientOptimizer: FedHyper (Wang et al. 2024, arXiv 2310.03156): a rate that follows the
// product of successive deltas, up while they agree, down when they turn against each other.
//
//   h ← κ·⟨Δ, Δ'⟩               raw       r ← clip(r + h)
//   h ← κ·⟨Δ, Δ'⟩/(‖Δ‖·‖Δ'‖)    cosine    r ← clip(r·(1 + h))      clip to [1/γ, γ]
//
//   global          w ← w + r·Δ                      Δ' the delta before
//   global_momentum w ← w + r·Δ + 0.9·(r − 1)·L      Δ' = L, then L ← Δ + 0.9·L; r ≥ 0.8
//   server_local    w ← w + Δ                        the clients' learning rate is r times theirs
//
//   r  the rate, 1 at first    κ  gain    γ  bound    h is 0 where a norm is 0 or nothing was
//   before
//
// The paper has the raw form with κ = 1; L and its floor, under which the momentum would turn
// round, are those of the authors' code. There a sum of h that r cannot follow piles up; here what
// is remembered is r itself, after the clip. Raw products are squares of lengths: of no effect for
// short deltas, and past any bound for long ones. The cosine form has no scale.
//
// server_local, cosine: a delta more than a hundred times as long as the one before is taken for
// that of clients which diverge. It counts with the length of the one before, is remembered with a
// hundred times that, and the rate falls to a half. Training on the edge of what a network bears is
// well until it is not: without this one version ruins the model for good.
//
// Asynchronous: h counts 1/√(1 + mean staleness), and 0 if more than half of the updates come from
// a client and a base that the delta before had too: such deltas agree with themselves.
#ifndef TRIBUTARY_AGGREGATORS_OPTIMIZE_HYPERGRADIENT_H_
#define TRIBUTARY_AGGREGATORS_OPTIMIZE_HYPERGRADIENT_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "aggregators/optimize/server_optimizer.h"
#include "common/config/schema.h"

namespace tributary {

struct HypergradientOptions {
  // global | global_momentum | server_local; Create refuses client_local, which is the clients'.
  std::string variant = "global";
  std::string form = "cosine";
  std::optional<double> bound;  // absent: 3; server_local 10
  std::optional<double> gain;   // absent: 0.2; raw 1

  static void Describe(config::Fields<HypergradientOptions>& fields);
};

class HypergradientOptimizer final : public ServerOptimizer {
 public:
  using Options = HypergradientOptions;

  static absl::StatusOr<std::unique_ptr<HypergradientOptimizer>> Create(const Options& options,
                                                                        const OptimizerDeps& deps);

  absl::Status Step(absl::Span<float> delta, const DeltaOrigin& origin) override;
  // w ← w + r·Δ, or + Δ with server_local, shortened like any other; r stays.
  absl::Status StepBesideMomentum(absl::Span<float> delta, const DeltaOrigin& origin) override;
  // global and server_local. The products of deltas are sums over r×r matrices
  // (aggregators/lora/low_rank_products.h); Δ' stays in its factors.
  absl::Status StepLowRank(LowRankModel& delta, const DeltaOrigin& origin,
                           bool beside_momentum) override;
  bool takes_low_rank() const override { return variant_ != Variant::kGlobalMomentum; }
  // Forgets all: products across the boundary mean nothing.
  absl::Status BeginEpoch(const Project& project) override;
  double rate() const override { return variant_ == Variant::kServerLocal ? 1.0 : rate_; }
  double client_rate() const override { return variant_ == Variant::kServerLocal ? rate_ : 1.0; }
  Effect effect() const override {
    return variant_ == Variant::kGlobalMomentum ? Effect::kReshapes : Effect::kScales;
  }
  StateRefs State() override {
    return {.vectors = {{"previous", &previous_}}, .scalars = {{"rate", &rate_}}};
  }

 private:
  enum class Variant { kGlobal, kGlobalMomentum, kServerLocal };

  HypergradientOptimizer(const Options& options, const OptimizerDeps& deps);
  // ‖Δ‖², ⟨Δ, Δ'⟩, ‖Δ'‖².
  struct Products {
    double own, mixed, previous;
  };
  double NextRate(const Products& products, const DeltaOrigin& origin) const;
  // How much of a delta counts, by its squared norm and that of Δ'; below 1 if it is too long to be
  // believed.
  double Believed(double own, double previous) const;

  const Variant variant_;
  const bool cosine_;
  const double gain_;
  const double max_rate_;
  const double min_rate_;
  const bool doubts_;  // whether a delta may be too long to be believed
  const OptimizerDeps deps_;
  ParamVector previous_;  // Δ' of the next step, or its factors; empty before the first
  double rate_ = 1.0;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_OPTIMIZE_HYPERGRADIENT_H_
