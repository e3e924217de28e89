#include "common/lora/low_rank.h"

#include <algorithm>

#include "common/check.h"
#include "common/vector_clones.h"

namespace tributary {
namespace {

std::vector<float> Transposed(const std::vector<float>& x, int64_t rows, int64_t columns) {
  std::vector<float> t(x.size());
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      t[static_cast<size_t>(j * rows + i)] = x[static_cast<size_t>(i * columns + j)];
    }
  }
  return t;
}

// sums += factor·row
TRIB_VECTOR_CLONES void AddScaledRow(double factor, const float* row, int64_t n, double* sums) {
  for (int64_t j = 0; j < n; ++j) sums[j] += factor * static_cast<double>(row[j]);
}

// w += b·a, row by row. b [rows, rank], a [rank, columns].
void AddRows(const std::vector<float>& b, const std::vector<float>& a, int64_t rows,
             int64_t columns, int64_t rank, float* w) {
  std::vector<double> sums(static_cast<size_t>(columns));
  for (int64_t i = 0; i < rows; ++i, w += columns) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t k = 0; k < rank; ++k) {
      const auto factor = static_cast<double>(b[static_cast<size_t>(i * rank + k)]);
      AddScaledRow(factor, a.data() + k * columns, columns, sums.data());
    }
    for (int64_t j = 0; j < columns; ++j) {
      w[j] = static_cast<float>(static_cast<double>(w[j]) + sums[static_cast<size_t>(j)]);
    }
  }
}

}  // namespace

bool IsWellFormed(const LowRank& x) {
  return static_cast<int64_t>(x.b.size()) == x.rows * x.rank &&
         static_cast<int64_t>(x.a.size()) == x.rank * x.columns;
}

int64_t FactorValues(const LowRank& x) { return x.rank * (x.rows + x.columns); }

bool DenseIsNoLarger(int64_t rows, int64_t columns, int64_t rank) {
  return rank * (rows + columns) >= rows * columns;
}

LowRank Concatenate(absl::Span<const LowRank* const> blocks) {
  TRIB_CHECK(!blocks.empty());
  LowRank sum{.rows = blocks[0]->rows, .columns = blocks[0]->columns};
  for (const LowRank* block : blocks) {
    TRIB_CHECK(IsWellFormed(*block) && block->rows == sum.rows && block->columns == sum.columns);
    sum.rank += block->rank;
  }
  sum.b.reserve(static_cast<size_t>(sum.rows * sum.rank));
  sum.a.reserve(static_cast<size_t>(sum.rank * sum.columns));
  for (int64_t i = 0; i < sum.rows; ++i) {
    for (const LowRank* block : blocks) {
      const auto row = block->b.begin() + i * block->rank;
      sum.b.insert(sum.b.end(), row, row + block->rank);
    }
  }
  for (const LowRank* block : blocks) sum.a.insert(sum.a.end(), block->a.begin(), block->a.end());
  return sum;
}

LowRank Slice(const LowRank& x, int64_t begin, int64_t rank) {
  TRIB_CHECK(IsWellFormed(x) && begin >= 0 && rank >= 0 && begin + rank <= x.rank);
  LowRank part{.rows = x.rows, .columns = x.columns, .rank = rank};
  part.b.reserve(static_cast<size_t>(x.rows * rank));
  for (int64_t i = 0; i < x.rows; ++i) {
    const auto from = x.b.begin() + i * x.rank + begin;
    part.b.insert(part.b.end(), from, from + rank);
  }
  part.a.assign(x.a.begin() + begin * x.columns, x.a.begin() + (begin + rank) * x.columns);
  return part;
}

void Multiply(double factor, absl::Span<float> values) {
  for (float& v : values) v = static_cast<float>(factor * static_cast<double>(v));
}

void AddProduct(const LowRank& x, absl::Span<float> w, bool transposed) {
  TRIB_CHECK(IsWellFormed(x) && static_cast<int64_t>(w.size()) == x.rows * x.columns);
  if (!transposed) return AddRows(x.b, x.a, x.rows, x.columns, x.rank, w.data());
  // (B·A)ᵀ = Aᵀ·Bᵀ, with the same sums.
  const std::vector<float> at = Transposed(x.a, x.rank, x.columns);
  const std::vector<float> bt = Transposed(x.b, x.rows, x.rank);
  AddRows(at, bt, x.columns, x.rows, x.rank, w.data());
}

}  // namespace tributary
