#include "aggregators/lora/low_rank_state.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/strip.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<ParamVector> PackFactors(const LowRankModel& factors) {
  if (factors.empty()) return ParamVector();
  std::vector<ParamLayout::Tensor> tensors;
  for (const auto& [name, x] : factors) {
    tensors.push_back({name + ".A", {x.rank, x.columns}});
    tensors.push_back({name + ".B", {x.rows, x.rank}});
  }
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  ParamVector packed(std::move(layout));
  for (const auto& [name, x] : factors) {
    std::ranges::copy(x.a, packed.View(name + ".A").begin());
    std::ranges::copy(x.b, packed.View(name + ".B").begin());
  }
  return packed;
}

LowRankModel UnpackFactors(const ParamVector& packed) {
  LowRankModel factors;
  if (packed.empty()) return factors;
  for (const ParamLayout::Tensor& a : packed.layout()->tensors()) {
    absl::string_view name = a.name;
    if (!absl::ConsumeSuffix(&name, ".A") || a.shape.size() != 2) continue;
    const std::string module(name);
    const ParamLayout::Tensor* const b = packed.layout()->Find(module + ".B");
    if (b == nullptr || b->shape.size() != 2 || b->shape[1] != a.shape[0]) continue;
    const auto a_values = packed.View(a.name), b_values = packed.View(b->name);
    factors[module] = {.rows = b->shape[0],
                       .columns = a.shape[1],
                       .rank = a.shape[0],
                       .b = {b_values.begin(), b_values.end()},
                       .a = {a_values.begin(), a_values.end()}};
  }
  return factors;
}

}  // namespace tributary
