#include "simulator/event_queue.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;

TEST(EventQueue, OrdersByTimeThenRankThenArrival) {
  EventQueue queue;
  std::vector<std::string> ran;
  const auto push = [&](int seconds, EventRank rank, const std::string& name) {
    queue.Push(absl::UnixEpoch() + absl::Seconds(seconds), rank,
               [&ran, name] { ran.push_back(name); });
  };
  push(2, EventRank::kResult, "later");
  push(1, EventRank::kEvaluation, "evaluation");
  push(1, EventRank::kTimer, "timer");
  push(1, EventRank::kCheckIn, "check-in 1");
  push(1, EventRank::kCheckIn, "check-in 2");
  push(1, EventRank::kResult, "result");
  EXPECT_EQ(queue.size(), 6u);
  while (!queue.empty()) queue.Pop().second();
  EXPECT_THAT(ran,
              ElementsAre("result", "check-in 1", "check-in 2", "timer", "evaluation", "later"));
}

TEST(EventQueue, AHandlerMayPushForTheSameInstant) {
  EventQueue queue;
  std::vector<int> ran;
  const absl::Time t = absl::UnixEpoch();
  queue.Push(t, EventRank::kTimer, [&] {
    ran.push_back(1);
    queue.Push(t, EventRank::kResult, [&] { ran.push_back(2); });
  });
  queue.Push(t, EventRank::kTimer, [&] { ran.push_back(3); });
  while (!queue.empty()) {
    auto [at, handler] = queue.Pop();
    EXPECT_EQ(at, t);
    handler();
  }
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace tributary
