#include "simulator/event_queue.h"

#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;

TEST(EventQueue, OrdersByTimeThenRankThenArrival) {
  EventQueue<const char*> queue;
  const auto push = [&](int seconds, EventRank rank, const char* name) {
    queue.Push(absl::UnixEpoch() + absl::Seconds(seconds), rank, name);
  };
  push(2, EventRank::kResult, "later");
  push(1, EventRank::kEvaluation, "evaluation");
  push(1, EventRank::kTimer, "timer");
  push(1, EventRank::kCheckIn, "check-in 1");
  push(1, EventRank::kCheckIn, "check-in 2");
  push(1, EventRank::kResult, "result");
  EXPECT_EQ(queue.size(), 6u);
  std::vector<std::string> popped;
  while (!queue.empty()) popped.emplace_back(queue.Pop().second);
  EXPECT_THAT(popped,
              ElementsAre("result", "check-in 1", "check-in 2", "timer", "evaluation", "later"));
}

TEST(EventQueue, AnInstantMayGrowWhileItIsDealtWith) {
  EventQueue<int> queue;
  const absl::Time t = absl::UnixEpoch();
  queue.Push(t, EventRank::kTimer, 1);
  queue.Push(t, EventRank::kTimer, 3);
  EXPECT_EQ(queue.Pop(), std::pair(t, 1));
  queue.Push(t, EventRank::kResult, 2);
  EXPECT_EQ(queue.Pop(), std::pair(t, 2));
  EXPECT_EQ(queue.Pop(), std::pair(t, 3));
  EXPECT_TRUE(queue.empty());
}

TEST(EventQueue, WhatWasThereForAnInstantGoesBeforeWhatItBrings) {
  EventQueue<int> queue;
  const absl::Time t = absl::UnixEpoch();
  queue.Push(t, EventRank::kResult, 1);
  queue.Push(t, EventRank::kCheckIn, 2);
  EXPECT_EQ(queue.Pop(), std::pair(t, 1));
  queue.Push(t, EventRank::kCheckIn, 3);
  queue.Push(t, EventRank::kTimer, 4);
  queue.Push(t + absl::Seconds(1), EventRank::kResult, 5);
  for (int i = 2; i <= 4; ++i) EXPECT_EQ(queue.Pop(), std::pair(t, i));
  EXPECT_EQ(queue.Pop().second, 5);
}

TEST(EventQueue, ExpectsWhatLiesAhead) {
  EventQueue<int> queue;
  EXPECT_EQ(queue.Expected(), nullptr);
  for (const int seconds : {3, 1, 2}) {
    queue.Push(absl::UnixEpoch() + absl::Seconds(seconds), EventRank::kResult, seconds);
  }
  for (const int next : {1, 2, 3}) {
    ASSERT_NE(queue.Expected(), nullptr);
    EXPECT_EQ(*queue.Expected(), next);
    queue.Pop();
  }
}

TEST(EventQueue, AgreesWithASortedListWhileTimeGoesOn) {
  EventQueue<int> queue;
  Rng rng(4);
  std::set<std::pair<int64_t, int>> oracle;  // second, number of the push
  int pushed = 0;
  const auto push = [&](int64_t second) {
    oracle.emplace(second, pushed);
    queue.Push(absl::UnixEpoch() + absl::Seconds(second), EventRank::kResult, pushed++);
  };
  while (pushed < 40'000) push(rng.UniformInt(1000));
  while (pushed < 200'000) {
    const auto [second, number] = *oracle.begin();
    oracle.erase(oracle.begin());
    ASSERT_EQ(queue.Pop(), std::pair(absl::UnixEpoch() + absl::Seconds(second), number));
    ASSERT_NE(queue.Expected(), nullptr);
    ASSERT_EQ(*queue.Expected(), oracle.begin()->second);
    push(second + 1 + rng.UniformInt(1000));  // near or far
  }
}

TEST(EventQueue, AgreesWithASortedListOfManyThousands) {
  EventQueue<int> queue;
  Rng rng(3);
  using Key = std::tuple<int64_t, EventRank, int>;  // second, rank, number of the push
  std::set<Key> oracle;
  for (int i = 0; i < 200'000; ++i) {
    // Grows to more than what is near, shrinks to nothing, grows again.
    if (rng.Uniform() < (i / 50'000 % 2 == 0 ? 0.7 : 0.2)) {
      const Key key(rng.UniformInt(500), static_cast<EventRank>(rng.UniformInt(4)), i);
      oracle.insert(key);
      queue.Push(absl::UnixEpoch() + absl::Seconds(std::get<0>(key)), std::get<1>(key), i);
    } else if (!queue.empty()) {
      const auto [second, rank, number] = *oracle.begin();
      oracle.erase(oracle.begin());
      ASSERT_EQ(queue.Pop(), std::pair(absl::UnixEpoch() + absl::Seconds(second), number));
    }
    ASSERT_EQ(queue.size(), oracle.size());
  }
}

}  // namespace
}  // namespace tributary
