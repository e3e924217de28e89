#include "client_sdk/internal/retry.h"

#include <cmath>
#include <latch>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary::sdk {
namespace {

using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;

const absl::Status kBroken = absl::UnavailableError("broken");

std::vector<absl::Duration> Delays(const RetryOptions& options, uint64_t seed, int count) {
  SimulatedClock clock;
  Retry retry(options, &clock, Rng(seed), {});
  std::vector<absl::Duration> delays;
  for (int i = 0; i < count; ++i) {
    const absl::Time before = clock.Now();
    EXPECT_THAT(retry.AfterFailure(kBroken), IsOk());
    delays.push_back(clock.Now() - before);
  }
  return delays;
}

TEST(RetryTest, DelaysFillTheRangeThatDoublesUpToItsLimit) {
  const RetryOptions options{.first_delay = absl::Milliseconds(100), .max_delay = absl::Seconds(1)};
  constexpr int kSeeds = 400;
  constexpr int kCount = 7;
  std::vector<double> sum(kCount), largest(kCount);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<absl::Duration> delays = Delays(options, seed, kCount);
    for (int i = 0; i < kCount; ++i) {
      const double ms = absl::ToDoubleMilliseconds(delays[i]);
      const double ceiling = std::min(1000.0, 100.0 * std::pow(2, i));
      ASSERT_GE(ms, 0);
      ASSERT_LE(ms, ceiling);
      sum[i] += ms / ceiling;
      largest[i] = std::max(largest[i], ms / ceiling);
    }
  }
  for (int i = 0; i < kCount; ++i) {
    EXPECT_NEAR(sum[i] / kSeeds, 0.5, 0.06) << "delay " << i;  // 4 standard deviations
    EXPECT_GT(largest[i], 0.95) << "delay " << i;
  }
}

TEST(RetryTest, DifferentClientsWaitDifferently) {
  EXPECT_NE(Delays({}, 1, 3), Delays({}, 2, 3));
  EXPECT_EQ(Delays({}, 1, 3), Delays({}, 1, 3));
}

TEST(RetryTest, AFirstDelayAboveTheLimitIsCutToIt) {
  for (const absl::Duration delay :
       Delays({.first_delay = absl::Hours(1), .max_delay = absl::Seconds(2)}, 3, 20)) {
    EXPECT_LE(delay, absl::Seconds(2));
  }
}

TEST(RetryTest, OnlyRetryableCodesAreRetried) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status failure(static_cast<absl::StatusCode>(code), "why");
    const bool retryable = absl::IsUnavailable(failure) || absl::IsResourceExhausted(failure) ||
                           absl::IsDeadlineExceeded(failure) || absl::IsAborted(failure) ||
                           absl::IsDataLoss(failure);
    SimulatedClock clock;
    Retry retry({}, &clock, Rng(5), {});
    EXPECT_EQ(retry.AfterFailure(failure), retryable ? absl::OkStatus() : failure);
    EXPECT_EQ(clock.Now() > absl::UnixEpoch(), retryable) << failure;
  }
}

TEST(RetryTest, SleepAfterTakesAnyCode) {
  SimulatedClock clock;
  Retry retry({}, &clock, Rng(5), {});
  EXPECT_THAT(retry.SleepAfter(absl::NotFoundError("gone")), IsOk());
  EXPECT_GT(clock.Now(), absl::UnixEpoch());
}

TEST(RetryTest, GivesUpWithTheFailureExactlyAtTheLimit) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedClock clock;
    Retry retry({.give_up_after = absl::Seconds(10)}, &clock, Rng(seed), {});
    absl::Status status;
    while (status.ok()) status = retry.AfterFailure(kBroken);
    EXPECT_EQ(status, kBroken);
    EXPECT_EQ(clock.Now(), absl::UnixEpoch() + absl::Seconds(10)) << "one last try at the end";
  }
}

TEST(RetryTest, TheTimeToGiveUpStartsAtTheFirstFailureInARow) {
  SimulatedClock clock;
  Retry retry({.give_up_after = absl::Seconds(10)}, &clock, Rng(1), {});
  clock.AdvanceBy(absl::Hours(1));
  EXPECT_THAT(retry.AfterFailure(kBroken), IsOk());
  retry.Succeeded();
  clock.AdvanceBy(absl::Hours(1));
  EXPECT_THAT(retry.AfterFailure(kBroken), IsOk());
  clock.AdvanceBy(absl::Hours(1));
  EXPECT_EQ(retry.AfterFailure(kBroken), kBroken);
}

TEST(RetryTest, SuccessMakesTheNextDelayShortAgain) {
  SimulatedClock clock;
  Retry retry({.first_delay = absl::Seconds(1), .max_delay = absl::Hours(1)}, &clock, Rng(1), {});
  for (int i = 0; i < 12; ++i) ASSERT_THAT(retry.AfterFailure(kBroken), IsOk());
  retry.Succeeded();
  const absl::Time before = clock.Now();
  ASSERT_THAT(retry.AfterFailure(kBroken), IsOk());
  EXPECT_LE(clock.Now() - before, absl::Seconds(1));
}

TEST(RetryTest, ARequestedStopEndsItWithoutSleeping) {
  SimulatedClock clock;
  std::stop_source stop;
  Retry retry({}, &clock, Rng(1), stop.get_token());
  stop.request_stop();
  EXPECT_THAT(retry.AfterFailure(kBroken), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(retry.SleepAfter(kBroken), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(clock.Now(), absl::UnixEpoch());
}

TEST(RetryTest, AStopDuringTheSleepEndsIt) {
  RealClock clock;
  std::stop_source stop;
  std::latch started(1);
  absl::Status status;
  std::thread sleeper([&] {
    Retry retry({.first_delay = absl::Hours(1000), .max_delay = absl::Hours(1000)}, &clock, Rng(1),
                stop.get_token());
    started.count_down();
    status = retry.AfterFailure(kBroken);
  });
  started.wait();
  stop.request_stop();
  sleeper.join();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace tributary::sdk
