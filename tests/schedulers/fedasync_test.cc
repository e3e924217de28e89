#include "schedulers/fedasync.h"

#include <cmath>
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

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ::tributary::test::At;
using ::tributary::test::IsOk;
using ::tributary::test::SchedulerHost;
using ::tributary::test::StatusIs;

class Host : public SchedulerHost {
 public:
  explicit Host(const FedAsyncOptions& options = {}, uint64_t seed = 1)
      : SchedulerHost(FedAsyncScheduler::Create(options, {.rng = Rng(seed)}).value()) {}
};

TEST(FedAsyncTest, GivesWorkToEverybodyAtTheEndOfTheInstant) {
  Host host;
  const Decision in = host.In(1, "a");
  EXPECT_THAT(in.dispatch, IsEmpty());
  EXPECT_THAT(in.wake_at, Optional(At(1)));
  host.In(1, "b");
  const Decision work = host.Timer(1);
  EXPECT_THAT(Host::Names(work), UnorderedElementsAre("a", "b"));
  EXPECT_EQ(work.dispatch[0].local_steps, std::nullopt);
  EXPECT_EQ(work.dispatch[0].deadline, absl::InfiniteFuture());
  EXPECT_EQ(work.wake_at, std::nullopt);
}

TEST(FedAsyncTest, ClosesEveryUpdateAloneMixingModels) {
  Host host;
  host.Start(0, 2);
  const Decision first = host.Update(5, "a");
  ASSERT_THAT(first.close, SizeIs(1));
  EXPECT_THAT(first.close[0].updates, ElementsAre(host.OrderOf("a").id));
  EXPECT_THAT(first.close[0].coefficients, ElementsAre(0.6));
  EXPECT_TRUE(first.close[0].mix_models);
  host.Publish(5);
  const Decision second = host.Update(6, "b");
  ASSERT_THAT(second.close, SizeIs(1));
  EXPECT_NE(second.close[0].group, first.close[0].group);
  EXPECT_EQ(host.Stat("closes"), 2);
}

// τ counts versions from the base to the application: 0.6·(1 + 3)^(−0.5) = 0.3.
TEST(FedAsyncTest, WeighsByTheStalenessAtApplication) {
  Host host;
  host.Start(0, 2);
  for (int i = 1; i <= 3; ++i) {
    host.Update(i, "a", {.available = true});
    host.Publish(i);
    ASSERT_THAT(Host::Names(host.Timer(i)), ElementsAre("a"));
  }
  const Decision stale = host.Update(4, "b");
  ASSERT_THAT(stale.close, SizeIs(1));
  EXPECT_THAT(stale.close[0].coefficients, ElementsAre(DoubleEq(0.3)));
}

TEST(FedAsyncTest, ClosesThatAreNotYetPublishedCountAsStaleness) {
  Host host;
  host.Start(0, 4);
  std::vector<double> weights;
  for (const char* client : {"a", "b", "c", "d"}) {
    weights.push_back(host.Update(1, client).close.at(0).coefficients.at(0));
  }
  EXPECT_THAT(weights, ElementsAre(0.6, DoubleEq(0.6 / std::sqrt(2.0)),
                                   DoubleEq(0.6 / std::sqrt(3.0)), DoubleEq(0.3)));
  for (int i = 0; i < 4; ++i) host.Publish(1);
  host.In(2, "a");
  host.Timer(2);
  EXPECT_THAT(host.Update(3, "a").close.at(0).coefficients, ElementsAre(0.6));
}

TEST(FedAsyncTest, LearnsTheVersionWhereItComesIn) {
  Host host;
  const UpdateAccepted old{.client = ClientId("x"), .work_order = 9, .base_version = 41};
  EXPECT_THAT(host.Send(0, old).close.at(0).coefficients, ElementsAre(0.6));
  UpdateAccepted later = old;
  later.work_order = 10;
  host.Send(0, Published{.group = 1, .version = 44});
  EXPECT_THAT(host.Send(1, later).close.at(0).coefficients, ElementsAre(DoubleEq(0.3)));
}

TEST(FedAsyncTest, OptionsChooseAlphaFunctionAndMixing) {
  FedAsyncOptions options;
  options.alpha = 0.9;
  options.staleness = {.name = "constant", .options = nlohmann::json::object(), .position = {}};
  options.mixing = "delta";
  Host host(options);
  host.Start(0, 2);
  host.Update(1, "a");
  host.Publish(1);
  const Close close = host.Update(2, "b").close.at(0);
  EXPECT_THAT(close.coefficients, ElementsAre(0.9));
  EXPECT_FALSE(close.mix_models);
}

TEST(FedAsyncTest, AClientGoesOnOnlyIfItMayAndIfItIsStillThere) {
  Host host;
  host.Start(0, 2);
  EXPECT_EQ(host.Update(1, "a").wake_at, std::nullopt);
  EXPECT_THAT(host.In(2, "a").wake_at, Optional(At(2)));
  EXPECT_THAT(Host::Names(host.Timer(2)), ElementsAre("a"));
  EXPECT_THAT(host.Update(3, "b", {.available = true}).wake_at, Optional(At(3)));
  host.Out(3, "b");
  EXPECT_THAT(host.Timer(3).dispatch, IsEmpty());
}

TEST(FedAsyncTest, ACheckInOfABusyClientChangesNothing) {
  Host host;
  host.Start(0, 1);
  EXPECT_EQ(host.In(1, "a").wake_at, std::nullopt);
  EXPECT_THAT(host.Timer(1).dispatch, IsEmpty());
}

TEST(FedAsyncTest, ALostClientWorksAgainWhenItChecksIn) {
  Host host;
  host.Start(0, 1);
  EXPECT_EQ(host.Lost(1, "a").wake_at, std::nullopt);
  host.In(2, "a");
  EXPECT_THAT(Host::Names(host.Timer(2)), ElementsAre("a"));
}

TEST(FedAsyncTest, RefusesOptionsOutOfRange) {
  const std::vector<std::pair<const char*, nlohmann::json>> bad = {{"alpha", 0.0},
                                                                   {"alpha", 1.01},
                                                                   {"mixing", "gradient"},
                                                                   {"staleness", "cubic"},
                                                                   {"max_staleness", -1},
                                                                   {"max_concurrency", 0},
                                                                   {"goal", 2}};
  for (const auto& [field, value] : bad) {
    EXPECT_THAT(SchedulerRegistry().Create({"fedasync", {{field, value}}, {}}, {}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
  EXPECT_THAT(SchedulerRegistry().Create({"fedasync", {{"alpha", 1}}, {}}, {}), IsOk());
}

}  // namespace
}  // namespace tributary
