#include "server/live/event_loop.h"

#include <atomic>
#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/live/executor.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;

TEST(EventLoopTest, TasksRunInOrderAndTimersInTheOrderOfTheirTimes) {
  SimulatedClock clock;
  EventLoop loop(&clock);
  std::vector<std::string> ran;
  const auto note = [&](std::string what) { return [&ran, what] { ran.push_back(what); }; };
  const absl::Time now = clock.Now();
  loop.PostAt(now + absl::Seconds(2), note("2s"));
  loop.PostAt(now + absl::Seconds(1), note("1s first"));
  loop.PostAt(now + absl::Seconds(1), note("1s second"));
  loop.Post(note("a"));
  loop.Post(note("b"));
  loop.RunReady();
  EXPECT_THAT(ran, ElementsAre("a", "b"));
  clock.AdvanceBy(absl::Seconds(1));
  loop.RunReady();
  EXPECT_THAT(ran, ElementsAre("a", "b", "1s first", "1s second"));
  clock.AdvanceBy(absl::Seconds(5));
  EXPECT_TRUE(loop.RunOne());
  EXPECT_FALSE(loop.RunOne());
  EXPECT_EQ(ran.back(), "2s");
}

TEST(EventLoopTest, ACancelledTimerDoesNotRun) {
  SimulatedClock clock;
  EventLoop loop(&clock);
  bool ran = false;
  const auto id = loop.PostAt(clock.Now(), [&] { ran = true; });
  loop.Cancel(id);
  loop.Cancel(id);
  loop.Cancel(12345);
  loop.RunReady();
  EXPECT_FALSE(ran);
}

TEST(EventLoopTest, ATaskMayPostAndCancel) {
  SimulatedClock clock;
  EventLoop loop(&clock);
  int ran = 0;
  const auto timer = loop.PostAt(clock.Now(), [&] { ran += 100; });
  loop.Post([&] {
    loop.Cancel(timer);
    loop.Post([&] { ++ran; });
  });
  loop.RunReady();
  EXPECT_EQ(ran, 1);
}

TEST(EventLoopTest, StopRunsWhatWasPostedAndDropsTheRest) {
  RealClock clock;
  EventLoop loop(&clock);
  loop.Start();
  std::atomic<int> ran = 0;
  auto token = std::make_shared<int>(0);
  loop.PostAt(clock.Now() + absl::Hours(1), [token, &ran] { ran += 1000; });
  for (int i = 0; i < 100; ++i) loop.Post([&] { ++ran; });
  loop.Stop();
  loop.Post([token, &ran] { ran += 1000; });
  EXPECT_EQ(ran, 100);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(EventLoopTest, ATimerWakesTheThread) {
  RealClock clock;
  EventLoop loop(&clock);
  loop.Start();
  Mutex mu;
  CondVar woken;
  bool ran = false;
  loop.PostAt(clock.Now() + absl::Milliseconds(5), [&] {
    MutexLock lock(mu);
    ran = true;
    woken.NotifyAll();
  });
  MutexLock lock(mu);
  while (!ran) woken.Wait(mu);
  EXPECT_TRUE(ran);
}

TEST(WorkerPoolTest, RunsEverythingBeforeItEnds) {
  std::atomic<int> ran = 0;
  {
    WorkerPool pool(3);
    for (int i = 0; i < 1000; ++i) pool.Run([&] { ++ran; });
  }
  EXPECT_EQ(ran, 1000);
}

TEST(SerialLaneTest, RunsOneAtATimeAndInOrder) {
  std::vector<int> order;  // no lock: the lane is one
  std::atomic<int> inside = 0;
  bool overlapped = false;
  {
    WorkerPool pool(4);
    SerialLane lane(&pool);
    for (int i = 0; i < 1000; ++i) {
      lane.Run([&, i] {
        overlapped = overlapped || ++inside > 1;
        order.push_back(i);
        --inside;
      });
    }
  }
  EXPECT_FALSE(overlapped);
  ASSERT_EQ(order.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(order[i], i);
}

}  // namespace
}  // namespace tributary
