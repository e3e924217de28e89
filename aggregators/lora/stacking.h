// lora_stacking: the weighted sum of the clients' products, exact, as one pair of stacked factors.
//
//   B = [B_1, B_2, …, B_K]    A = [p_1·s_1·A_1; …; p_K·s_K·A_K]    B·A = Σ p_k·s_k·B_k·A_k
//
// FLoRA: Wang et al. 2024, "Federated fine-tuning large language models with heterogeneous low-rank
// adaptations", NeurIPS, arXiv 2409.05976. Weight and scale stand in A, once: each value of
// A is rounded once and B is as sent. Ranks and scales may differ by client. The order is that of
// Accumulate. With given coefficients p_k = w_k.
//
// How the sum travels is the business of delivery.h.
#ifndef TRIBUTARY_AGGREGATORS_LORA_STACKING_H_
#define TRIBUTARY_AGGREGATORS_LORA_STACKING_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "aggregators/combine/update_weights.h"
#include "aggregators/lora/delivery.h"
#include "aggregators/lora/lora_aggregator.h"

namespace tributary {

// The sum itself, which other rules need too. Memory: the factors given. Thread-compatible.
class AdapterStack {
 public:
  void Add(double weight, AcceptedUpdate update);

  // Σ (w_k / divisor)·s_k·B_k·A_k, by module. Empty if nothing was added.
  LowRankModel Finish(double divisor) &&;

 private:
  struct Block {
    LowRank factors;
    double coefficient;  // w_k·s_k
  };
  std::map<std::string, std::vector<Block>> blocks_;
};

// Of rules whose sum goes into the weights.
struct LoraMergeOptions : UpdateWeightOptions, LoraDeliveryOptions {
  static void Describe(config::Fields<LoraMergeOptions>& fields) {
    UpdateWeightOptions::DescribeFor(fields);
    LoraDeliveryOptions::DescribeFor(fields);
  }
};

class LoraStacking final : public LoraAggregator {
 public:
  using Options = LoraMergeOptions;

  static absl::StatusOr<std::unique_ptr<LoraStacking>> Create(const Options& options,
                                                              const LoraDeps& deps);

  absl::StatusOr<LoraAggregate> Finish() && override;

 private:
  explicit LoraStacking(const LoraDeps& deps) : LoraAggregator(deps, AdapterFactors::kBoth) {}
  void Add(double weight, AcceptedUpdate update) override { stack_.Add(weight, std::move(update)); }

  AdapterStack stack_;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_STACKING_H_
