// The rules that keep one adapter from version to version and go by the sum of the products,
// D = Σ p_k·s_k·B_k·A_k; see lora_aggregator.h.
//
//   flexlora  the adapter becomes the best of rank max_rank for D: with D = U·diag(σ)·Vᵀ, B = U·√σ
//             and A = √σ·Vᵀ, of which a client of rank r takes the first r. Bai et al. 2024,
//             NeurIPS, arXiv 2402.11505. The weights stay frozen; mixed ranks. The paper
//             forms D; here that is done only where it is no larger than its factors.
//   fedex     the adapter becomes the mean (B̄, Ā) of lora_average, and the weights take what that
//             lacks, D − B̄·Ā = [B_1, …, B_K, −B̄]·[p_1·s_1·A_1; …; Ā]. Exact. One rank for all.
//             FedEx-LoRA: Singhal et al. 2025, ACL, arXiv 2410.09432.
//   lora_fair the adapter becomes (B̄ + ΔB, Ā) with ΔB = E·Āᵀ·(Ā·Āᵀ + λI)⁺ and E = D − B̄·Ā: of all
//             pairs with this Ā the nearest to D, for λ = 0. Nearer than lora_average, not
//             exact. One rank for all. After LoRA-FAIR, Bian et al. 2025, ICCV, arXiv 2411.14961,
//             which maximises a similarity instead; this is the ridge regression.
#ifndef TRIBUTARY_AGGREGATORS_LORA_PRODUCT_RULES_H_
#define TRIBUTARY_AGGREGATORS_LORA_PRODUCT_RULES_H_

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "aggregators/lora/delivery.h"
#include "aggregators/lora/factor_mean.h"
#include "aggregators/lora/lora_aggregator.h"
#include "aggregators/lora/stacking.h"

namespace tributary {

// The mean (B̄, Ā) of the factors and E = D − B̄·Ā, by module. Thread-compatible.
class MeanAndRest {
 public:
  void Add(double weight, AcceptedUpdate update);
  // `weight`: the sum of those given. `rest`: E as factors.
  void Finish(double weight, LowRankModel& mean, LowRankModel& rest) &&;

 private:
  AdapterStack stack_;
  std::map<std::string, FactorSums> sums_;
};

class FlexLora final : public LoraAggregator {
 public:
  using Options = UpdateWeightOptions;
  static absl::StatusOr<std::unique_ptr<FlexLora>> Create(const Options& options,
                                                          const LoraDeps& deps);
  absl::StatusOr<LoraAggregate> Finish() && override;

 private:
  explicit FlexLora(const LoraDeps& deps) : LoraAggregator(deps, AdapterFactors::kBoth) {}
  void Add(double weight, AcceptedUpdate update) override;

  AdapterStack stack_;
};

class FedEx final : public LoraAggregator {
 public:
  using Options = LoraMergeOptions;
  static absl::StatusOr<std::unique_ptr<FedEx>> Create(const Options& options,
                                                       const LoraDeps& deps);
  absl::StatusOr<LoraAggregate> Finish() && override;

 private:
  explicit FedEx(const LoraDeps& deps) : LoraAggregator(deps, AdapterFactors::kBoth) {}
  void Add(double weight, AcceptedUpdate update) override { mean_.Add(weight, std::move(update)); }

  MeanAndRest mean_;
};

class LoraFair final : public LoraAggregator {
 public:
  struct Options : UpdateWeightOptions {
    double ridge = 0;  // λ
    static void Describe(config::Fields<Options>& fields);
  };
  static absl::StatusOr<std::unique_ptr<LoraFair>> Create(const Options& options,
                                                          const LoraDeps& deps);
  absl::StatusOr<LoraAggregate> Finish() && override;

 private:
  LoraFair(const Options& options, const LoraDeps& deps)
      : LoraAggregator(deps, AdapterFactors::kBoth), options_(options) {}
  void Add(double weight, AcceptedUpdate update) override { mean_.Add(weight, std::move(update)); }

  const Options options_;
  MeanAndRest mean_;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_PRODUCT_RULES_H_
