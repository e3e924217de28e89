// Passes over coordinates, on as many threads as a host gives, with the same bits on any
// number of them.
#ifndef TRIBUTARY_AGGREGATORS_PARALLEL_H_
#define TRIBUTARY_AGGREGATORS_PARALLEL_H_

#include <cstdint>
#include <functional>

#include "absl/types/span.h"
#include "common/params/update.h"

namespace tributary {

// Runs a function over disjoint parts of a range, on however many threads.
class Parallel {
 public:
  virtual ~Parallel() = default;
  // Calls body(part) for parts that cover [0, size) once; returns when all are done.
  virtual void For(int64_t size, const std::function<void(CoordinateRange)>& body) = 0;
};

// The same through `parallel`, or in one part on the calling thread when that is null. The
// body's result for a coordinate must not depend on the part that the coordinate is in.
void ForRanges(Parallel* parallel, int64_t size, const std::function<void(CoordinateRange)>& body);

// Σ x², in double, over blocks of a fixed size whose sums are then added in order.
// Not finite exactly when some x is not.
double SquaredNorm(absl::Span<const float> x, Parallel* parallel);
// Σ x·y in the same way; the sizes are equal.
double Dot(absl::Span<const float> x, absl::Span<const float> y, Parallel* parallel);
// The squared norm of a delta of `size` coordinates, which is unpacked block by block.
double SquaredNorm(const DeltaPayload& delta, int64_t size, Parallel* parallel);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_PARALLEL_H_
