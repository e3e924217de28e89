#include "simulator/event_queue.h"

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "common/rng.h"
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

TEST(EventQueue, AgreesWithASortedListOfThousands) {
  EventQueue queue;
  Rng rng(3);
  using Key = std::tuple<int64_t, EventRank, int>;  // second, rank, number of the push
  std::set<Key> oracle;
  for (int i = 0; i < 20000; ++i) {
    // Grows, shrinks to nothing, grows again.
    if (rng.Uniform() < (i / 5000 % 2 == 0 ? 0.7 : 0.2)) {
      const Key key(rng.UniformInt(500), static_cast<EventRank>(rng.UniformInt(4)), i);
      oracle.insert(key);
      queue.Push(absl::UnixEpoch() + absl::Seconds(std::get<0>(key)), std::get<1>(key),
                 [&oracle, key] {
                   ASSERT_EQ(*oracle.begin(), key);
                   oracle.erase(oracle.begin());
                 });
    } else if (!queue.empty()) {
      const auto [at, handler] = queue.Pop();
      ASSERT_EQ(at, absl::UnixEpoch() + absl::Seconds(std::get<0>(*oracle.begin())));
      ASSERT_NO_FATAL_FAILURE(handler());
    }
    ASSERT_EQ(queue.size(), oracle.size());
  }
}

}  // namespace
}  // namespace tributary
