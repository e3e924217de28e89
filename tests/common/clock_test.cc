#include "common/clock.h"

#include <stop_token>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

TEST(SimulatedClockTest, MovesOnlyByHand) {
  SimulatedClock clock(absl::FromUnixSeconds(100));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(100));
  clock.AdvanceBy(absl::Seconds(5));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(105));
  clock.AdvanceTo(absl::FromUnixSeconds(200));
  EXPECT_EQ(clock.Now(), absl::FromUnixSeconds(200));
}

TEST(SimulatedClockTest, SleepingAdvancesAndReturnsAtOnce) {
  SimulatedClock clock;
  EXPECT_TRUE(clock.SleepFor(absl::Hours(1000), {}));
  EXPECT_EQ(clock.Now(), absl::UnixEpoch() + absl::Hours(1000));
  EXPECT_TRUE(clock.SleepFor(-absl::Hours(1), {}));
  EXPECT_EQ(clock.Now(), absl::UnixEpoch() + absl::Hours(1000));
}

TEST(SimulatedClockTest, AStoppedSleepTakesNoTime) {
  SimulatedClock clock;
  std::stop_source source;
  source.request_stop();
  EXPECT_FALSE(clock.SleepFor(absl::Hours(1), source.get_token()));
  EXPECT_EQ(clock.Now(), absl::UnixEpoch());
}

TEST(SimulatedClockDeathTest, NeverRunsBackwards) {
  SimulatedClock clock(absl::FromUnixSeconds(100));
  EXPECT_DEATH(clock.AdvanceTo(absl::FromUnixSeconds(99)), "check failed");
  EXPECT_DEATH(clock.AdvanceBy(-absl::Nanoseconds(1)), "check failed");
}

TEST(RealClockTest, NeverRunsBackwards) {
  RealClock clock;
  absl::Time last = clock.Now();
  for (int i = 0; i < 10'000; ++i) {
    const absl::Time now = clock.Now();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(RealClockTest, SleepsAtLeastAsLongAsAsked) {
  RealClock clock;
  const absl::Time start = clock.Now();
  EXPECT_TRUE(clock.SleepFor(absl::Milliseconds(2), {}));
  EXPECT_GE(clock.Now() - start, absl::Milliseconds(2));
  EXPECT_TRUE(clock.SleepFor(absl::ZeroDuration(), {}));
  EXPECT_TRUE(clock.SleepFor(-absl::InfiniteDuration(), {}));
}

TEST(RealClockTest, AStopEndsAnEndlessSleep) {
  RealClock clock;
  bool finished = true;
  std::jthread sleeper(
      [&](std::stop_token stop) { finished = clock.SleepFor(absl::InfiniteDuration(), stop); });
  sleeper.request_stop();
  sleeper.join();
  EXPECT_FALSE(finished);
}

TEST(ThreadCpuTimeTest, GrowsWithWork) {
  const absl::Duration before = ThreadCpuTime();
  volatile uint64_t x = 1;
  while (ThreadCpuTime() - before < absl::Milliseconds(1)) x = x * 3;
  EXPECT_GT(ThreadCpuTime(), before);
}

}  // namespace
}  // namespace tributary
