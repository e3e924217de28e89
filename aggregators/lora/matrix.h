// Matrices of doubles, column by column as LAPACK has them, for the sources of this folder only.
// BLAS and LAPACK run on the calling thread: callers bring their own, and the bits stay the same.
#ifndef TRIBUTARY_AGGREGATORS_LORA_MATRIX_H_
#define TRIBUTARY_AGGREGATORS_LORA_MATRIX_H_

#include <cstdint>

#include "Eigen/Core"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tributary::lora {

using Matrix = Eigen::MatrixXd;

// `values` column by column, [rows, columns]: a row-major matrix comes out transposed.
Matrix FromFloats(absl::Span<const float> values, int64_t rows, int64_t columns);

// op(x)·op(y), where op transposes if it is said so.
Matrix Product(const Matrix& x, bool x_transposed, const Matrix& y, bool y_transposed);

// x = Q·R: Q [m, k] has orthonormal columns, R [k, n] is upper triangular, k = min(m, n).
// Householder reflections. Internal if LAPACK fails.
struct Qr {
  Matrix q, r;
};
absl::StatusOr<Qr> ThinQr(Matrix x);

// x = U·diag(σ)·Vᵀ, k = min(m, n) values, descending. Divide and conquer. Internal if it does not
// converge.
struct Svd {
  Matrix u;                // [m, k]
  Eigen::VectorXd values;  // [k]
  Matrix vt;               // [k, n]
};
absl::StatusOr<Svd> ThinSvd(Matrix x);

}  // namespace tributary::lora

#endif  // TRIBUTARY_AGGREGATORS_LORA_MATRIX_H_
