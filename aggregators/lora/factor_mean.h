// The rules that average the factors themselves, so that clients keep one adapter from version to
// version. B_k stands for s_k·B_k throughout; see lora_aggregator.h.
//
// lora_average: B = Σ p_k·B_k, A = Σ p_k·A_k; one rank for all. FedIT: Zhang et al. 2023, arXiv
// 2305.05644. Not exact: over all pairs of clients
//
//   B·A − Σ p_k·B_k·A_k = −½·Σ_ij p_i·p_j·(B_i − B_j)·(A_i − A_j)
//
// lora_zero_padding: the same for mixed ranks. What only client k has, counts p_k² instead of p_k.
//
// hetlora: the same with p_k = ‖B_k·A_k‖_F / Σ_j ‖B_j·A_j‖_F, by module; the examples do not count.
// Cho et al. 2024, EMNLP, arXiv 2401.06432, "sparsity-weighted aggregation". Its
// clients' half, which prune their own ranks, is left out.
//
// ffa: A = A_0 for ever, random and shared; B = Σ p_k·B_k. Exact. A client of rank r has the first
// r rows of A_0, which keeps mixed ranks exact. FFA-LoRA: Sun et al. 2024, ICLR, arXiv 2403.12313.
//
// rolora: B as in ffa from even versions (the paper's odd rounds, from 1), A = Σ p_k·A_k with B
// frozen from odd ones. Exact. Chen et al. 2024, arXiv 2409.02346.
//
// fedsa: A = Σ p_k·A_k; each client trains a B of its own, which stays with it. FedSA-LoRA: Guo et
// al. 2025, ICLR, arXiv 2410.01463.
#ifndef TRIBUTARY_AGGREGATORS_LORA_FACTOR_MEAN_H_
#define TRIBUTARY_AGGREGATORS_LORA_FACTOR_MEAN_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "aggregators/combine/update_weights.h"
#include "aggregators/lora/lora_aggregator.h"

namespace tributary {

// Weighted sums of the factors of one module, padded with zeros, in double. Thread-compatible.
class FactorSums {
 public:
  void Add(double weight, const AcceptedModule& module);

  double weight() const { return weight_; }
  // Divided by the weight, which is above 0.
  LowRank Mean() const;

 private:
  int64_t rows_ = 0, columns_ = 0, rank_ = 0;
  double weight_ = 0;
  std::vector<double> bt_;  // Σ w·s·Bᵀ [rank, rows]
  std::vector<double> a_;   // Σ w·A    [rank, columns]
};

struct LoraAverage {
  using Options = UpdateWeightOptions;
  static absl::StatusOr<std::unique_ptr<LoraAggregator>> Create(const Options& options,
                                                                const LoraDeps& deps);
};
struct LoraZeroPadding {
  using Options = UpdateWeightOptions;
  static absl::StatusOr<std::unique_ptr<LoraAggregator>> Create(const Options& options,
                                                                const LoraDeps& deps);
};
struct HetLora {
  using Options = UpdateWeightOptions;
  static absl::StatusOr<std::unique_ptr<LoraAggregator>> Create(const Options& options,
                                                                const LoraDeps& deps);
};
struct Ffa {
  using Options = UpdateWeightOptions;
  static absl::StatusOr<std::unique_ptr<LoraAggregator>> Create(const Options& options,
                                                                const LoraDeps& deps);
};
struct RoLora {
  using Options = UpdateWeightOptions;
  static absl::StatusOr<std::unique_ptr<LoraAggregator>> Create(const Options& options,
                                                                const LoraDeps& deps);
};
struct FedSa {
  using Options = UpdateWeightOptions;
  static absl::StatusOr<std::unique_ptr<LoraAggregator>> Create(const Options& options,
                                                                const LoraDeps& deps);
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_FACTOR_MEAN_H_
