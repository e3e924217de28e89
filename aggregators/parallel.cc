#include "aggregators/parallel.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "common/check.h"
#include "common/params/param_vector.h"

namespace tributary {
namespace {

constexpr int64_t kBlock = 1 << 14;  // coordinates, 64 KiB

double SumOverBlocks(int64_t size, Parallel* parallel,
                     const std::function<double(CoordinateRange)>& sum_of) {
  std::vector<double> sums(static_cast<size_t>((size + kBlock - 1) / kBlock));
  ForRanges(parallel, size, [&](CoordinateRange range) {
    // The blocks whose first coordinate is in the range; the last may reach beyond it.
    for (int64_t b = (range.begin + kBlock - 1) / kBlock; b * kBlock < range.end; ++b) {
      sums[static_cast<size_t>(b)] = sum_of({b * kBlock, std::min(size, (b + 1) * kBlock)});
    }
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace

void ForRanges(Parallel* parallel, int64_t size, const std::function<void(CoordinateRange)>& body) {
  if (size == 0) return;
  if (parallel == nullptr) return body({0, size});
  parallel->For(size, body);
}

double SquaredNorm(absl::Span<const float> x, Parallel* parallel) { return Dot(x, x, parallel); }

double Dot(absl::Span<const float> x, absl::Span<const float> y, Parallel* parallel) {
  TRIB_CHECK(x.size() == y.size());
  return SumOverBlocks(static_cast<int64_t>(x.size()), parallel, [&](CoordinateRange block) {
    const auto begin = static_cast<size_t>(block.begin), size = static_cast<size_t>(block.size());
    return Dot(x.subspan(begin, size), y.subspan(begin, size));
  });
}

double SquaredNorm(const DeltaPayload& delta, int64_t size, Parallel* parallel) {
  return SumOverBlocks(size, parallel, [&](CoordinateRange block) {
    std::vector<float> values(static_cast<size_t>(block.size()));
    delta.AddTo(1.0F, block, absl::MakeSpan(values));
    return SquaredNorm(values);
  });
}

}  // namespace tributary
