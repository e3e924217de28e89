#include "common/clock.h"

#include <time.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "common/check.h"

namespace tributary {
namespace {

int64_t ReadNanoseconds(clockid_t clock) {
  timespec t{};
  TRIB_CHECK(clock_gettime(clock, &t) == 0);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

RealClock::RealClock()
    : start_(absl::FromUnixNanos(ReadNanoseconds(CLOCK_REALTIME))),
      start_ticks_ns_(ReadNanoseconds(CLOCK_MONOTONIC)) {}

absl::Time RealClock::Now() const {
  return start_ + absl::Nanoseconds(ReadNanoseconds(CLOCK_MONOTONIC) - start_ticks_ns_);
}

bool RealClock::SleepFor(absl::Duration duration, std::stop_token stop) {
  std::mutex mu;
  std::condition_variable_any wake;
  const absl::Time until = Now() + duration;
  std::unique_lock<std::mutex> lock(mu);
  // In pieces of at most an hour, measured by our own clock: a jump of the system clock, on
  // which the wait itself runs, ends a piece early or late but never the sleep early.
  for (;;) {
    const absl::Duration left = until - Now();
    if (left <= absl::ZeroDuration() || stop.stop_requested()) break;
    const auto piece = absl::ToChronoNanoseconds(
        absl::Ceil(std::min(left, absl::Hours(1)), absl::Microseconds(1)));
    wake.wait_until(lock, stop, std::chrono::system_clock::now() + piece, [] { return false; });
  }
  return !stop.stop_requested();
}

absl::Time SimulatedClock::Now() const {
  MutexLock lock(mu_);
  return now_;
}

bool SimulatedClock::SleepFor(absl::Duration duration, std::stop_token stop) {
  if (stop.stop_requested()) return false;
  if (duration > absl::ZeroDuration()) AdvanceBy(duration);
  return true;
}

void SimulatedClock::AdvanceBy(absl::Duration duration) {
  TRIB_CHECK(duration >= absl::ZeroDuration());
  MutexLock lock(mu_);
  now_ += duration;
}

void SimulatedClock::AdvanceTo(absl::Time now) {
  MutexLock lock(mu_);
  TRIB_CHECK(now >= now_);
  now_ = now;
}

absl::Duration ThreadCpuTime() {
  return absl::Nanoseconds(ReadNanoseconds(CLOCK_THREAD_CPUTIME_ID));
}

}  // namespace tributary
