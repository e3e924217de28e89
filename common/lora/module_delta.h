// ModuleDelta: what is added to one module's weight, as factors or, where these would be larger,
// value by value.
#ifndef TRIBUTARY_COMMON_LORA_MODULE_DELTA_H_
#define TRIBUTARY_COMMON_LORA_MODULE_DELTA_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/lora/low_rank.h"

namespace tributary {

struct ModuleDelta {
  LowRank factors;           // of rank 0 if `dense` is not empty
  std::vector<float> dense;  // [m, n] or empty

  bool operator==(const ModuleDelta&) const = default;
};

using ModelDelta = std::map<std::string, ModuleDelta>;

// The factors, or their product once it is no larger; the product in any case if `dense`.
ModuleDelta DeltaOf(LowRank factors, bool dense = false);

// What travels.
int64_t DeltaValues(const ModuleDelta& delta);

// w += delta, `w` [m, n], or its transpose, `w` [n, m].
void AddDelta(const ModuleDelta& delta, absl::Span<float> w, bool transposed = false);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_LORA_MODULE_DELTA_H_
