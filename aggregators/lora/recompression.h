// Recompression: the best approximation of a sum of stacked adapters by factors of lower rank.
//
//   D = Σ σ_i·u_i·v_iᵀ    kept: i <= ρ    tail: i > ρ
//   ‖D − kept‖_F² = Σ_{i>ρ} σ_i²,  ‖D − kept‖_2 = σ_{ρ+1}
//
// No pair of rank ρ comes closer (Eckart & Young 1936; for adapters: FLoRIST, arXiv 2506.09199). Up
// to the rounding of the factors to float32.
#ifndef TRIBUTARY_AGGREGATORS_LORA_RECOMPRESSION_H_
#define TRIBUTARY_AGGREGATORS_LORA_RECOMPRESSION_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "aggregators/lora/rank_policy.h"
#include "common/lora/low_rank.h"

namespace tributary {

struct RecompressedModule {
  LowRank kept;  // balanced, as ProductSvd::Part gives them
  LowRank tail;
  double kept_energy = 0;  // Σ σ²
  double tail_energy = 0;
};
using Recompression = std::map<std::string, RecompressedModule>;

// All modules at once: a policy may weigh them against each other. Internal if a decomposition
// fails.
absl::StatusOr<Recompression> Recompress(const LowRankModel& sum, const RankPolicy& policy);

// The same product at the least rank that holds it.
absl::StatusOr<LowRank> RecompressExactly(const LowRank& x);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_RECOMPRESSION_H_
