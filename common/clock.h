// Clock: the only source of time. RealClock in production, SimulatedClock in the
// simulator and in tests (it is here and not in tests/ because the simulator runs on it).
//
// Nothing outside this file may read a system clock or sleep; tests/lint checks it.
#ifndef TRIBUTARY_COMMON_CLOCK_H_
#define TRIBUTARY_COMMON_CLOCK_H_

#include <stop_token>

#include "absl/time/time.h"
#include "common/mutex.h"

namespace tributary {

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  virtual absl::Time Now() const = 0;

  // Blocks the caller for `duration` of this clock's time, or until `stop` is
  // requested. Returns false when it was stopped early, true otherwise.
  virtual bool SleepFor(absl::Duration duration, std::stop_token stop) = 0;
};

// Wall-clock time that never runs backwards: read once at construction from the
// system clock, advanced by the monotonic clock from then on.
class RealClock final : public Clock {
 public:
  RealClock();
  absl::Time Now() const override;
  bool SleepFor(absl::Duration duration, std::stop_token stop) override;

 private:
  const absl::Time start_;
  const int64_t start_ticks_ns_;
};

// A clock moved by hand. SleepFor advances the clock itself and returns at once, so
// that code which waits (retry loops) runs in no time in tests.
class SimulatedClock final : public Clock {
 public:
  explicit SimulatedClock(absl::Time now = absl::UnixEpoch()) : now_(now) {}

  absl::Time Now() const override;
  bool SleepFor(absl::Duration duration, std::stop_token stop) override;

  void AdvanceBy(absl::Duration duration);
  // Moves to `now`. Moving backwards is a programmer error.
  void AdvanceTo(absl::Time now);

 private:
  mutable Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
};

// CPU time used by the calling thread so far: for measurements, never for decisions.
absl::Duration ThreadCpuTime();

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CLOCK_H_
