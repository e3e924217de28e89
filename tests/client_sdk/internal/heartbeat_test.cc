#include "client_sdk/internal/heartbeat.h"

#include <atomic>
#include <latch>

#include "gtest/gtest.h"
#include "tests/client_sdk/fake_server.h"

namespace tributary::sdk {
namespace {

WorkOrder QuickOrder() {
  WorkOrder order = MakeOrder(WorkKind::kTrain, 7);
  order.liveness = absl::Milliseconds(3);
  return order;
}

TEST(HeartbeatTest, IntervalIsAThirdWithinBounds) {
  EXPECT_EQ(Heartbeat::Interval(absl::Seconds(30)), absl::Seconds(10));
  EXPECT_EQ(Heartbeat::Interval(absl::Hours(2)), absl::Minutes(1));
  EXPECT_EQ(Heartbeat::Interval(absl::InfiniteDuration()), absl::Minutes(1));
  EXPECT_EQ(Heartbeat::Interval(absl::ZeroDuration()), absl::Minutes(1));
  EXPECT_EQ(Heartbeat::Interval(absl::Microseconds(1)), absl::Milliseconds(1));
}

TEST(HeartbeatTest, ReportsGoOnThoughTheTrainerSaysNothing) {
  FakeServer server;
  std::atomic<bool> progress_set = false;  // by then some beats may have passed
  std::latch beats(3);
  server.on_progress = [&]() -> absl::StatusOr<bool> {
    if (progress_set && !beats.try_wait()) beats.count_down();
    return true;
  };
  std::stop_source work_stop;
  const WorkOrder order = QuickOrder();
  {
    Heartbeat heartbeat(&server, order, &work_stop);
    heartbeat.SetProgress(4, 10);
    progress_set = true;
    beats.wait();
    EXPECT_FALSE(heartbeat.withdrawn());
  }
  const ProgressReport last = server.progress().back();
  EXPECT_EQ(last.job, JobId("job-1"));
  EXPECT_EQ(last.work_order, 7);
  EXPECT_EQ(last.steps_done, 4);
  EXPECT_EQ(last.steps_total, 10);
  EXPECT_FALSE(work_stop.stop_requested());
}

TEST(HeartbeatTest, AFailedReportIsFollowedByTheNext) {
  FakeServer server;
  std::latch beats(3);
  server.on_progress = [&]() -> absl::StatusOr<bool> {
    if (!beats.try_wait()) beats.count_down();
    return absl::UnavailableError("broken");
  };
  std::stop_source work_stop;
  const WorkOrder order = QuickOrder();
  const Heartbeat heartbeat(&server, order, &work_stop);
  beats.wait();
  EXPECT_FALSE(heartbeat.withdrawn());
  EXPECT_FALSE(work_stop.stop_requested());
}

TEST(HeartbeatTest, UnwantedWorkIsStoppedAndNotReportedAgain) {
  FakeServer server;
  server.on_progress = [] { return false; };
  std::stop_source work_stop;
  std::latch stopped(1);
  const std::stop_callback on_stop(work_stop.get_token(), [&] { stopped.count_down(); });
  const WorkOrder order = QuickOrder();
  {
    const Heartbeat heartbeat(&server, order, &work_stop);
    stopped.wait();
    EXPECT_TRUE(heartbeat.withdrawn());
  }
  EXPECT_EQ(server.progress().size(), 1);
}

TEST(HeartbeatTest, EndsAtOnceBetweenTwoBeats) {
  FakeServer server;
  std::stop_source work_stop;
  WorkOrder order = QuickOrder();
  order.liveness = absl::Hours(1);
  { const Heartbeat heartbeat(&server, order, &work_stop); }
  EXPECT_TRUE(server.progress().empty());
}

}  // namespace
}  // namespace tributary::sdk
