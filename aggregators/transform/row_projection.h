// Rows of a delta, each made orthogonal to the same directions and, with a mask, kept inside it.
//
//   V    directions of unit length, orthogonal to each other, one a row [k, d]
//   x    a row of the delta [d]; S: the coordinates that it keeps
//
//   without a mask   x ← x − Vᵀ(V·x)
//   with one         x_S ← x_S − V_Sᵀ(V_S·V_Sᵀ)⁺V_S·x_S, and 0 elsewhere
//
// The second is the orthogonal projection onto all rows that satisfy both; clearing and projecting
// one after the other is not, in either order. A row that keeps no more coordinates than V_S has
// rank has only x = 0 left: it is frozen.
//
// The pseudo-inverse is not formed: every row may keep other coordinates, and k³ for each is too
// much. Conjugate gradients (Hestenes & Stiefel 1952) solve (V_S·V_Sᵀ)y = V_S·x for all rows at
// once, in products of whole matrices; their residual is V·x itself, what is not yet orthogonal.
#ifndef TRIBUTARY_AGGREGATORS_TRANSFORM_ROW_PROJECTION_H_
#define TRIBUTARY_AGGREGATORS_TRANSFORM_ROW_PROJECTION_H_

#include <cstdint>

#include "absl/types/span.h"

namespace tributary {

// ‖V·x‖ after a projection is at most this times √k·‖x before‖, for every row.
inline constexpr double kOrthogonality = 1e-6;

// `rows`: [n, d], in place. `keep`: [n, d] of 0 and 1, or empty for no mask. `directions`: [k, d],
// k >= 1. The result depends on n, which BLAS sees, but not on the thread. Returns the number of
// rows with a mask that were cleared because no solution was found within the tolerance: none
// unless the mask is all but incompatible with V. Thread-safe.
int64_t ProjectRows(int64_t dim, absl::Span<const float> directions, absl::Span<const float> keep,
                    absl::Span<float> rows);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_TRANSFORM_ROW_PROJECTION_H_
