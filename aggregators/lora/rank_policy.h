// RankPolicy: how many singular values of each module's sum are sent.
#ifndef TRIBUTARY_AGGREGATORS_LORA_RANK_POLICY_H_
#define TRIBUTARY_AGGREGATORS_LORA_RANK_POLICY_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/registry.h"

namespace tributary {

// Of one module's sum [rows, columns].
struct Spectrum {
  int64_t rows = 0;
  int64_t columns = 0;
  absl::Span<const double> values;  // σ, descending
};

// Immutable, thread-safe.
class RankPolicy {
 public:
  virtual ~RankPolicy() = default;
  // How many values to keep of each, from the largest on: 0 <= rank <= values.size().
  virtual std::vector<int64_t> Ranks(absl::Span<const Spectrum> spectra) const = 0;
};

//   fixed   {rank}    min(rank, what there is)
//   energy  {share}   the smallest ρ with Σ_{i<=ρ} σ_i² >= share·Σ σ_i² (FLoRIST, arXiv 2506.09199)
//   bytes   {bytes}   of float32 factors over all modules together: values with the largest
//                     σ²/(m + n) first, what a byte buys most of, for as long as they fit; ties go
//                     to the first module
const Registry<RankPolicy>& RankPolicyRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_RANK_POLICY_H_
