#include "schedulers/fedbuff.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "schedulers/scheduler_registry.h"
#include "tests/testing/scheduler_host.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::tributary::test::IsOk;
using ::tributary::test::SchedulerHost;
using ::tributary::test::StatusIs;

class Host : public SchedulerHost {
 public:
  explicit Host(const FedBuffOptions& options, uint64_t seed = 1)
      : SchedulerHost(FedBuffScheduler::Create(options, {.rng = Rng(seed)}).value()) {}

  // The client delivers, what that closes is published, and whoever may is given work.
  Decision Round(double at, const std::string& client) {
    Decision decision = Update(at, client, {.available = true});
    for (size_t i = 0; i < decision.close.size(); ++i) Publish(at);
    decision.dispatch = Timer(at).dispatch;
    return decision;
  }
};

FedBuffOptions Goal(int64_t goal) {
  FedBuffOptions options;
  options.goal = goal;
  return options;
}

TEST(FedBuffTest, NeverClosesBeforeTheGoal) {
  Host host(Goal(3));
  host.Start(0, 4);
  EXPECT_THAT(host.Update(1, "c").close, IsEmpty());
  EXPECT_THAT(host.Update(2, "a").close, IsEmpty());
  const Decision third = host.Update(3, "b");
  ASSERT_THAT(third.close, SizeIs(1));
  std::vector<WorkOrderId> all = {host.OrderOf("a").id, host.OrderOf("b").id, host.OrderOf("c").id};
  std::sort(all.begin(), all.end());
  EXPECT_EQ(third.close[0].updates, all) << "ascending, whoever came first";
  EXPECT_THAT(third.close[0].coefficients, ElementsAre(1.0 / 3, 1.0 / 3, 1.0 / 3));
  EXPECT_FALSE(third.close[0].mix_models);
  EXPECT_THAT(host.Update(4, "d").close, IsEmpty()) << "a new buffer";
}

// K = 2, τ = 0 and 3: s/K = 1/2 and 1/4; with deltas 1 and 2 the model moves by 1.
TEST(FedBuffTest, DividesByTheGoalAndNotByTheWeights) {
  Host host(Goal(2));
  host.Start(0, 2);
  const WorkOrderId stale = host.OrderOf("b").id;
  for (int i = 0; i < 6; ++i) host.Round(i, "a");
  EXPECT_EQ(host.version(), 3);
  EXPECT_THAT(host.Update(7, "a").close, IsEmpty());
  const Close close = host.Update(8, "b").close.at(0);
  EXPECT_THAT(close.updates, ElementsAre(stale, host.OrderOf("a").id));
  EXPECT_THAT(close.coefficients, ElementsAre(0.25, 0.5));
}

TEST(FedBuffTest, FillsOverTimeWithFewerClientsThanTheGoal) {
  Host host(Goal(5));
  host.Start(0, 1);
  for (int i = 1; i <= 4; ++i) EXPECT_THAT(host.Round(i, "a").close, IsEmpty());
  EXPECT_THAT(host.Round(5, "a").close.at(0).updates, ElementsAre(1, 2, 3, 4, 5));
}

TEST(FedBuffTest, DropsWhatIsTooStaleWhenItComes) {
  FedBuffOptions options = Goal(1);
  options.max_staleness = 2;
  Host host(options);
  host.Start(0, 3);
  host.Round(1, "a");
  host.Round(2, "a");
  EXPECT_THAT(host.Update(3, "b").close, SizeIs(1)) << "two versions behind";
  host.Publish(3);
  const Decision stale = host.Update(4, "c", {.available = true});
  EXPECT_THAT(stale.close, IsEmpty());
  EXPECT_THAT(stale.drop, ElementsAre(host.OrderOf("c").id));
  EXPECT_THAT(Host::Names(host.Timer(4)), ElementsAre("c")) << "it goes on from the new model";
  EXPECT_EQ(host.Stat("dropped_stale"), 1);
}

TEST(FedBuffTest, KeepsToItsConcurrency) {
  FedBuffOptions options = Goal(2);
  options.max_concurrency = 2;
  Host host(options);
  const std::vector<std::string> first = host.Start(0, 5);
  ASSERT_THAT(first, SizeIs(2));
  EXPECT_THAT(host.Timer(0).dispatch, IsEmpty());
  EXPECT_THAT(host.Round(1, first[0]).dispatch, SizeIs(1)) << "one place has become free";
  EXPECT_THAT(host.Lost(2, first[1]).dispatch, IsEmpty());
  EXPECT_THAT(host.Timer(2).dispatch, SizeIs(1));
  EXPECT_EQ(host.Stat("max_concurrency_seen"), 2);
}

TEST(FedBuffTest, AFreePlaceGoesToAnyoneWithTheSameChance) {
  FedBuffOptions options = Goal(3);
  options.max_concurrency = 1;
  Host host(options);
  std::string working = host.Start(0, 5).at(0);
  std::map<std::string, int> turns;
  constexpr int kTurns = 5000;
  for (int i = 1; i <= kTurns; ++i) {
    const std::vector<std::string> next = Host::Names(host.Round(i, working));
    ASSERT_THAT(next, SizeIs(1));
    working = next[0];
    ++turns[working];
  }
  // Binomial with mean 1000 and standard deviation 28.
  for (const auto& [client, count] : turns) EXPECT_NEAR(count, kTurns / 5, 150) << client;
  EXPECT_THAT(turns, SizeIs(5));
}

TEST(FedBuffTest, WhoIsDrawnDoesNotDependOnTheOrderOfCheckIns) {
  FedBuffOptions options = Goal(2);
  options.max_concurrency = 2;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Host one(options, seed), two(options, seed);
    for (const char* client : {"a", "b", "c", "d"}) one.In(1, client);
    for (const char* client : {"c", "d", "b", "a"}) two.In(1, client);
    EXPECT_EQ(Host::Names(one.Timer(1)), Host::Names(two.Timer(1)));
  }
}

TEST(FedBuffTest, LoadRefusesAStateThatContradictsItself) {
  Host host(Goal(2));
  host.Start(0, 2);
  host.Update(1, "a");
  const nlohmann::json good = host.scheduler().Save();
  const std::vector<std::pair<const char*, nlohmann::json>> bad = {
      {"available", {"b"}}, {"version", -1}, {"unpublished", -1},   {"group", 2},
      {"buffer", {{1, 7}}}, {"closes", 5},   {"dropped_stale", -2}, {"buffer", {{1, 0}, {2, 0}}}};
  for (const auto& [key, value] : bad) {
    nlohmann::json changed = good;
    changed[key] = value;
    EXPECT_THAT(host.scheduler().Load(changed),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("fedbuff")))
        << key << ": " << value;
    EXPECT_EQ(host.scheduler().Save(), good);
  }
  EXPECT_THAT(host.scheduler().Load(good), IsOk());
}

TEST(FedBuffTest, RefusesOptionsOutOfRange) {
  const std::vector<std::pair<const char*, nlohmann::json>> bad = {
      {"goal", 0}, {"max_concurrency", 0}, {"max_staleness", -1}, {"alpha", 0.5}};
  for (const auto& [field, value] : bad) {
    EXPECT_THAT(SchedulerRegistry().Create({"fedbuff", {{field, value}}, {}}, {}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

}  // namespace
}  // namespace tributary
