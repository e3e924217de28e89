#include "aggregators/lora/low_rank.h"

#include <algorithm>
#include <cmath>

#include "aggregators/lora/matrix.h"
#include "aggregators/transform/row_projection.h"
#include "common/check.h"

namespace tributary {
namespace {

// Rows of a product that are formed at once.
constexpr int64_t kPanelRows = 64;

bool IsWellFormed(const LowRank& x) {
  return static_cast<int64_t>(x.b.size()) == x.rows * x.rank &&
         static_cast<int64_t>(x.a.size()) == x.rank * x.columns;
}

}  // namespace

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

void AddProduct(const LowRank& x, absl::Span<float> w) {
  TRIB_CHECK(IsWellFormed(x) && static_cast<int64_t>(w.size()) == x.rows * x.columns);
  if (x.rank == 0) return;
  const lora::Matrix down = lora::FromFloats(x.a, x.columns, x.rank);
  const absl::Span<const float> b(x.b);
  for (int64_t first = 0; first < x.rows; first += kPanelRows) {
    const int64_t count = std::min(kPanelRows, x.rows - first);
    const auto panel =
        b.subspan(static_cast<size_t>(first * x.rank), static_cast<size_t>(count * x.rank));
    const lora::Matrix product =
        lora::Product(down, false, lora::FromFloats(panel, x.rank, count), false);
    float* const out = w.data() + first * x.columns;
    for (int64_t i = 0; i < product.size(); ++i) {
      out[i] = static_cast<float>(static_cast<double>(out[i]) + product.data()[i]);
    }
  }
}

void OrthogonalizeRows(absl::Span<const float> directions, LowRank& x) {
  if (x.rank > 0) ProjectRows(x.columns, directions, {}, absl::MakeSpan(x.a));
}

}  // namespace tributary
