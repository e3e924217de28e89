// PoolParallel: a Parallel on the threads of an executor.
#ifndef TRIBUTARY_SERVER_LIVE_POOL_PARALLEL_H_
#define TRIBUTARY_SERVER_LIVE_POOL_PARALLEL_H_

#include <cstdint>
#include <functional>

#include "aggregators/parallel.h"
#include "server/live/executor.h"

namespace tributary {

// Thread-safe. Never waits for a thread to become free: the caller works too, and does alone what
// nobody comes to help with.
class PoolParallel final : public Parallel {
 public:
  // Asking for help costs as much as adding some ten thousand floats.
  static constexpr int64_t kGrain = 1 << 16;

  // Up to `helpers` tasks run on `pool`, which outlives this, beside the caller of For. No part is
  // smaller than `grain`, so that ranges below 2·grain stay on the caller's thread.
  PoolParallel(Executor* pool, int helpers, int64_t grain = kGrain);

  void For(int64_t size, const std::function<void(CoordinateRange)>& body) override;

 private:
  Executor* const pool_;
  const int helpers_;
  const int64_t grain_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_POOL_PARALLEL_H_
