#include "aggregators/lora/low_rank_products.h"

#include <algorithm>
#include <cmath>

#include "aggregators/lora/matrix.h"
#include "aggregators/transform/row_projection.h"
#include "common/check.h"

namespace tributary {

double InnerProduct(const LowRank& x, const LowRank& y) {
  TRIB_CHECK(IsWellFormed(x) && IsWellFormed(y) && x.rows == y.rows && x.columns == y.columns);
  if (x.rank == 0 || y.rank == 0) return 0;
  // Read column by column, row-major factors are their transposes.
  const lora::Matrix up = lora::Product(lora::FromFloats(x.b, x.rank, x.rows), false,
                                        lora::FromFloats(y.b, y.rank, y.rows), true);
  const lora::Matrix down = lora::Product(lora::FromFloats(x.a, x.columns, x.rank), true,
                                          lora::FromFloats(y.a, y.columns, y.rank), false);
  return up.cwiseProduct(down).sum();
}

double Norm(const LowRank& x) { return std::sqrt(std::max(0.0, InnerProduct(x, x))); }

double InnerProduct(const LowRankModel& x, const LowRankModel& y) {
  double sum = 0;
  for (const auto& [name, factors] : x) {
    if (const auto other = y.find(name); other != y.end())
      sum += InnerProduct(factors, other->second);
  }
  return sum;
}

double Norm(const LowRankModel& x) { return std::sqrt(std::max(0.0, InnerProduct(x, x))); }

void ScaleProducts(double factor, LowRankModel& x) {
  for (auto& [name, factors] : x) Multiply(factor, absl::MakeSpan(factors.a));
}

void OrthogonalizeRows(absl::Span<const float> directions, LowRank& x) {
  if (x.rank > 0) ProjectRows(x.columns, directions, {}, absl::MakeSpan(x.a));
}

}  // namespace tributary
