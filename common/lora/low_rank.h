// LowRank: a matrix kept as the product of two thin ones, which is what an adapter of a layer is
// (Hu et al. 2021, "LoRA", arXiv 2106.09685, section 4.1), and what is done with such products
// without forming them.
//
//   D = B·A    D [m, n], B [m, r] ("up"), A [r, n] ("down")    m outputs, n inputs of the layer
//
// Sums and products run in double; what is stored is float32. What only the server does with them
// is in aggregators/lora/low_rank_products.h.
#ifndef TRIBUTARY_COMMON_LORA_LOW_RANK_H_
#define TRIBUTARY_COMMON_LORA_LOW_RANK_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace tributary {

struct LowRank {
  int64_t rows = 0;      // m
  int64_t columns = 0;   // n
  int64_t rank = 0;      // r; 0: the product is zero
  std::vector<float> b;  // [m, r]
  std::vector<float> a;  // [r, n]

  bool operator==(const LowRank&) const = default;
};

// By the module's name. Names alone say what belongs together: shapes may coincide.
using LowRankModel = std::map<std::string, LowRank>;

// Whether the factors are as long as the sizes say.
bool IsWellFormed(const LowRank& x);

// Values of the two factors, which is what travels: r·(m + n).
int64_t FactorValues(const LowRank& x);

// Whether the m·n values of the product are no more than those of factors of this rank:
// r >= m·n / (m + n).
bool DenseIsNoLarger(int64_t rows, int64_t columns, int64_t rank);

// The sum of the products, exact: B = [B_1, B_2, …], A = [A_1; A_2; …], ranks added. At least one
// block; all have the same rows and columns.
LowRank Concatenate(absl::Span<const LowRank* const> blocks);

// Columns of B and rows of A from `begin` on, `rank` of them. 0 <= begin <= begin + rank <= x.rank.
LowRank Slice(const LowRank& x, int64_t begin, int64_t rank);

// values *= factor, each rounded once from double.
void Multiply(double factor, absl::Span<float> values);

// w += B·A, `w` [m, n], or its transpose, `w` [n, m]. Each value is summed in double, over the rank
// in its order, and added once: the same bits on every machine.
void AddProduct(const LowRank& x, absl::Span<float> w, bool transposed = false);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_LORA_LOW_RANK_H_
