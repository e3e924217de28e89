#include "common/lora/module_delta.h"

#include <utility>

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

void AddDelta(const ModuleDelta& delta, absl::Span<float> w, bool transposed) {
  AddProduct(delta.factors, w, transposed);
  const auto rows = static_cast<size_t>(delta.factors.rows);
  const auto columns = static_cast<size_t>(delta.factors.columns);
  for (size_t i = 0; i < delta.dense.size(); ++i) {
    w[transposed ? i % columns * rows + i / columns : i] += delta.dense[i];
  }
}

}  // namespace tributary
