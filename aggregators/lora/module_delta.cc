#include "aggregators/lora/module_delta.h"

#include <utility>

#include "common/params/param_vector.h"

namespace tributary {

ModuleDelta DeltaOf(LowRank factors, bool dense) {
  if (!dense && !DenseIsNoLarger(factors.rows, factors.columns, factors.rank)) {
    return {.factors = std::move(factors), .dense = {}};
  }
  ModuleDelta delta{.factors = {.rows = factors.rows, .columns = factors.columns}, .dense = {}};
  delta.dense.resize(static_cast<size_t>(factors.rows * factors.columns));
  AddProduct(factors, absl::MakeSpan(delta.dense));
  return delta;
}

int64_t DeltaValues(const ModuleDelta& delta) {
  return FactorValues(delta.factors) + static_cast<int64_t>(delta.dense.size());
}

void AddDelta(const ModuleDelta& delta, absl::Span<float> w) {
  AddProduct(delta.factors, w);
  if (!delta.dense.empty()) AddScaled(1.0F, delta.dense, w);
}

}  // namespace tributary
