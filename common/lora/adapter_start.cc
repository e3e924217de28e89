#include "common/lora/adapter_start.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"

namespace tributary {
LowRank FreshAdapter(int64_t rows, int64_t columns, int64_t rank, Rng& rng) {
  LowRank fresh{.rows = rows, .columns = columns, .rank = rank};
  fresh.b.resize(static_cast<size_t>(rows * rank));
  fresh.a.resize(static_cast<size_t>(rank * columns));
  const double bound = 1 / std::sqrt(static_cast<double>(columns));
  for (float& v : fresh.a) v = static_cast<float>(rng.Uniform(-bound, bound));
  return fresh;
}

LowRank InitPair(const LowRank& start, int64_t rank, double scale, Rng& rng) {
  TRIB_CHECK(rank >= 1 && scale > 0);
  LowRank pair = Slice(start, 0, std::min(rank, start.rank));
  Multiply(1 / scale, absl::MakeSpan(pair.b));
  const LowRank fresh = FreshAdapter(start.rows, start.columns, rank - pair.rank, rng);
  return Concatenate({&pair, &fresh});
}

}  // namespace tributary
