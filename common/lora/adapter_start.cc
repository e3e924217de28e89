#include "common/lora/adapter_start.h"

#include <algorithm>
#include <cmath>

#include "common/check.h"
#include "common/params/param_vector.h"

namespace tributary {
namespace {

double TailSize(const LowRank& x, int64_t begin) {
  const LowRank tail = Slice(x, begin, x.rank - begin);
  return std::sqrt(SquaredNorm(tail.b) * SquaredNorm(tail.a));
}

}  // namespace

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

LowRank AdapterDelta(const LowRank& trained, const LowRank& initial, double scale) {
  LowRank added = trained, removed = initial;
  Multiply(scale, absl::MakeSpan(added.b));
  Multiply(-scale, absl::MakeSpan(removed.b));
  return Concatenate({&added, &removed});
}

int64_t SelfPrunedRank(const LowRank& initial, const LowRank& trained, double decay) {
  TRIB_CHECK(initial.rank == trained.rank && decay > 0 && decay <= 1);
  const double share = decay * static_cast<double>(trained.rank);
  const auto pruned = std::max<int64_t>(1, static_cast<int64_t>(std::ceil(share)));
  return TailSize(trained, pruned) < TailSize(initial, pruned) ? pruned : trained.rank;
}

}  // namespace tributary
