#include "aggregators/parallel.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/params/param_vector.h"

namespace tributary {
namespace {

constexpr int64_t kBlock = 1 << 14;  // coordinates, 64 KiB

}  // namespace

void ForRanges(Parallel* parallel, int64_t size, const std::function<void(CoordinateRange)>& body) {
  if (size == 0) return;
  if (parallel == nullptr) return body({0, size});
  parallel->For(size, body);
}

double SquaredNorm(absl::Span<const float> x, Parallel* parallel) {
  const auto size = static_cast<int64_t>(x.size());
  std::vector<double> sums(static_cast<size_t>((size + kBlock - 1) / kBlock));
  ForRanges(parallel, size, [&](CoordinateRange range) {
    // The blocks whose first coordinate is in the range; the last may reach beyond it.
    for (int64_t b = (range.begin + kBlock - 1) / kBlock; b * kBlock < range.end; ++b) {
      sums[static_cast<size_t>(b)] =
          SquaredNorm(x.subspan(static_cast<size_t>(b * kBlock), static_cast<size_t>(kBlock)));
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace tributary
