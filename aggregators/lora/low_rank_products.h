// Products of low-rank matrices that the server takes without forming them.
#ifndef TRIBUTARY_AGGREGATORS_LORA_LOW_RANK_PRODUCTS_H_
#define TRIBUTARY_AGGREGATORS_LORA_LOW_RANK_PRODUCTS_H_

#include "absl/types/span.h"
#include "common/lora/low_rank.h"

namespace tributary {

// ⟨B_x·A_x, B_y·A_y⟩ = Σ (B_xᵀ·B_y)∘(A_x·A_yᵀ), in O((m + n)·r_x·r_y). Same rows and columns.
double InnerProduct(const LowRank& x, const LowRank& y);

// ‖B·A‖_F by the same formula.
double Norm(const LowRank& x);

// Over all modules: Σ ⟨B_x·A_x, B_y·A_y⟩ of those that both have, which are of one shape, and
// √Σ‖B·A‖²_F.
double InnerProduct(const LowRankModel& x, const LowRankModel& y);
double Norm(const LowRankModel& x);

// Every product times the factor, which A takes up.
void ScaleProducts(double factor, LowRankModel& x);

// Makes every row of B·A orthogonal to `directions` [k, n], k >= 1, which are of unit length and
// orthogonal to each other: D·(I − VᵀV) = B·(A − (A·Vᵀ)·V), so A alone changes. To the tolerance
// of ProjectRows in aggregators/transform/row_projection.h.
void OrthogonalizeRows(absl::Span<const float> directions, LowRank& x);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_LOW_RANK_PRODUCTS_H_
