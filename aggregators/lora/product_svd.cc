#include "aggregators/lora/product_svd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "aggregators/lora/matrix.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

using lora::Matrix;

std::vector<double> Copy(const Matrix& x) { return {x.data(), x.data() + x.size()}; }

}  // namespace

LowRank ProductSvd::Part(int64_t begin, int64_t count) const {
  TRIB_CHECK(begin >= 0 && count >= 0 && begin + count <= rank());
  LowRank part{.rows = rows, .columns = columns, .rank = count};
  part.b.resize(static_cast<size_t>(rows * count));
  part.a.resize(static_cast<size_t>(count * columns));
  for (int64_t k = 0; k < count; ++k) {
    const double root = std::sqrt(values[static_cast<size_t>(begin + k)]);
    const double* const u = left.data() + (begin + k) * rows;
    const double* const v = right.data() + (begin + k) * columns;
    float* const b = part.b.data() + k;
    float* const a = part.a.data() + k * columns;
    for (int64_t i = 0; i < rows; ++i) b[i * count] = static_cast<float>(root * u[i]);
    for (int64_t j = 0; j < columns; ++j) a[j] = static_cast<float>(root * v[j]);
  }
  return part;
}

absl::StatusOr<ProductSvd> SvdOfProduct(const LowRank& x) {
  ProductSvd result{.rows = x.rows, .columns = x.columns};
  if (x.rank == 0) return result;
  Matrix b = lora::FromFloats(x.b, x.rank, x.rows).transpose();  // [m, r]
  Matrix at = lora::FromFloats(x.a, x.columns, x.rank);          // [n, r]
  // What rounding leaves of a value that is 0.
  const double floor =
      std::numeric_limits<double>::epsilon() * static_cast<double>(x.rank) * b.norm() * at.norm();
  lora::Svd svd;
  if (x.rank >= std::min(x.rows, x.columns)) {
    TRIB_ASSIGN_OR_RETURN(svd, lora::ThinSvd(lora::Product(b, false, at, true)));
  } else {
    TRIB_ASSIGN_OR_RETURN(const lora::Qr up, lora::ThinQr(std::move(b)));
    TRIB_ASSIGN_OR_RETURN(const lora::Qr down, lora::ThinQr(std::move(at)));
    TRIB_ASSIGN_OR_RETURN(svd, lora::ThinSvd(lora::Product(up.r, false, down.r, true)));
    svd.u = lora::Product(up.q, false, svd.u, false);
    svd.vt = lora::Product(svd.vt, false, down.q, true);
  }
  const auto kept = std::count_if(svd.values.begin(), svd.values.end(),
                                  [&](double value) { return value > floor; });
  result.values.assign(svd.values.begin(), svd.values.begin() + kept);
  result.left = Copy(svd.u.leftCols(kept));
  result.right = Copy(svd.vt.topRows(kept).transpose());
  return result;
}

}  // namespace tributary
