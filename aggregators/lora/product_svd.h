// The singular values and vectors of a product B·A, without forming it:
//
//   B = Q_B·R_B,  Aᵀ = Q_A·R_A,  C = R_B·R_Aᵀ = U·diag(σ)·Vᵀ   =>   B·A = (Q_B·U)·diag(σ)·(Q_A·V)ᵀ
//
// Exact: the singular values of C are those of B·A. (QR of thin factors: Golub & Van Loan, "Matrix
// computations"; for stacked adapters: FLoRIST, arXiv 2506.09199.) Householder QR and not Gram
// matrices, which lose the values below √ε·σ_1. O((m + n)·r²) time, O((m + n)·r) memory.
// With r >= min(m, n) the product is no larger than its factors and is formed. All in double.
#ifndef TRIBUTARY_AGGREGATORS_LORA_PRODUCT_SVD_H_
#define TRIBUTARY_AGGREGATORS_LORA_PRODUCT_SVD_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lora/low_rank.h"

namespace tributary {

struct ProductSvd {
  int64_t rows = 0;            // m
  int64_t columns = 0;         // n
  std::vector<double> values;  // σ [k], descending; those that are rounding alone are left out
  std::vector<double> left;    // [k, m], one singular vector after the other
  std::vector<double> right;   // [k, n]

  int64_t rank() const { return static_cast<int64_t>(values.size()); }

  // The part Σ σ_i·u_i·v_iᵀ over `count` values from `begin` on, as balanced factors: B = U·√σ and
  // A = √σ·Vᵀ have the same norm. 0 <= begin <= begin + count <= rank().
  LowRank Part(int64_t begin, int64_t count) const;
};

// Internal if LAPACK does not converge. Thread-safe.
absl::StatusOr<ProductSvd> SvdOfProduct(const LowRank& x);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_PRODUCT_SVD_H_
