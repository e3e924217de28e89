#include "aggregators/lora/matrix.h"

#include <cblas.h>
#include <lapacke.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"

// Of the OpenMP runtime that BLAS runs on.
extern "C" void omp_set_num_threads(int threads);

namespace tributary::lora {
namespace {

int Int(Eigen::Index n) { return static_cast<int>(n); }

absl::Status Lapack(absl::string_view routine, lapack_int info) {
  if (info == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("LAPACK's ", routine, " failed with ", info));
}

}  // namespace

Matrix FromFloats(absl::Span<const float> values, int64_t rows, int64_t columns) {
  TRIB_CHECK(static_cast<int64_t>(values.size()) == rows * columns);
  return Eigen::Map<const Eigen::MatrixXf>(values.data(), rows, columns).cast<double>();
}

Matrix Product(const Matrix& x, bool x_transposed, const Matrix& y, bool y_transposed) {
  omp_set_num_threads(1);
  const Eigen::Index m = x_transposed ? x.cols() : x.rows();
  const Eigen::Index k = x_transposed ? x.rows() : x.cols();
  const Eigen::Index n = y_transposed ? y.rows() : y.cols();
  TRIB_CHECK(k == (y_transposed ? y.cols() : y.rows()));
  Matrix product = Matrix::Zero(m, n);
  if (m == 0 || n == 0 || k == 0) return product;
  cblas_dgemm(CblasColMajor, x_transposed ? CblasTrans : CblasNoTrans,
              y_transposed ? CblasTrans : CblasNoTrans, Int(m), Int(n), Int(k), 1.0, x.data(),
              Int(x.rows()), y.data(), Int(y.rows()), 0.0, product.data(), Int(m));
  return product;
}

absl::StatusOr<Qr> ThinQr(Matrix x) {
  omp_set_num_threads(1);
  const Eigen::Index m = x.rows(), n = x.cols(), k = std::min(m, n);
  Eigen::VectorXd reflectors(k);
  TRIB_RETURN_IF_ERROR(Lapack("dgeqrf", LAPACKE_dgeqrf(LAPACK_COL_MAJOR, Int(m), Int(n), x.data(),
                                                       Int(m), reflectors.data())));
  Qr qr;
  qr.r = x.topRows(k).triangularView<Eigen::Upper>();
  x.conservativeResize(Eigen::NoChange, k);
  TRIB_RETURN_IF_ERROR(Lapack("dorgqr", LAPACKE_dorgqr(LAPACK_COL_MAJOR, Int(m), Int(k), Int(k),
                                                       x.data(), Int(m), reflectors.data())));
  qr.q = std::move(x);
  return qr;
}

absl::StatusOr<Svd> ThinSvd(Matrix x) {
  omp_set_num_threads(1);
  const Eigen::Index m = x.rows(), n = x.cols(), k = std::min(m, n);
  Svd svd{.u = Matrix(m, k), .values = Eigen::VectorXd(k), .vt = Matrix(k, n)};
  TRIB_RETURN_IF_ERROR(Lapack(
      "dgesdd", LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', Int(m), Int(n), x.data(), Int(m),
                               svd.values.data(), svd.u.data(), Int(m), svd.vt.data(), Int(k))));
  return svd;
}

}  // namespace tributary::lora
