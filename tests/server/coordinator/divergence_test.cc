#include "server/coordinator/divergence.h"

#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/coordinator/job_controller.h"
#include "tests/server/coordinator/controller_host.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using Host = ::tributary::test::ControllerHost;
using ::tributary::test::Spec;

// Whoever asks is given work at once; two updates make a version.
JobSpec Asynchronous(const std::string& variant) {
  return Spec({{"scheduler", {{"sync_round", nullptr}, {"fedbuff", {{"goal", 2}}}}},
               {"hypergradient", {{"variant", variant}}},
               {"stop", {{"versions", 100}}}});
}

// The order comes to nothing, and its client asks for work again.
void Diverge(Host& host, const WorkOrder& order, LossCause cause = LossCause::kNotFinite) {
  host.Feed(host.now, event::WorkFailed{order.id, cause, "the loss became inf"});
  host.CheckIn(host.now, order.client.value());
}

void DivergeAll(Host& host, int times) {
  for (int i = 0; i < times; ++i) Diverge(host, host.Out(WorkKind::kTrain).at(0));
}

void FinishVersion(Host& host, double client_rate) {
  for (int i = 0; i < 2; ++i) host.Finish(host.now, host.Out(WorkKind::kTrain).at(0).id);
  host.Feed(host.now, event::VersionPublished{.version = host.progress().version + 1,
                                              .model_digest = Sha256::Of("model"),
                                              .client_rate = client_rate});
}

TEST(Divergence, HalvesTheRateThatMostClientsCouldNotBear) {
  Host host(Asynchronous("server_local"));
  host.Begin({"a", "b", "c"});
  DivergeAll(host, 2);
  EXPECT_EQ(host.progress().client_rate, 1.0) << "two diverged, and two orders are out";
  DivergeAll(host, 1);
  EXPECT_EQ(host.progress().client_rate, 0.5);
  EXPECT_EQ(host.sent.back().client_rate, 0.5) << "of the orders that are given out from then on";
}

TEST(Divergence, TheRateStaysBelow) {
  Host host(Asynchronous("server_local"));
  host.Begin({"a", "b", "c"});
  FinishVersion(host, 2.0);
  EXPECT_EQ(host.publications.back().client_rate_limit, std::numeric_limits<double>::infinity());
  host.CheckIn(1, "a");
  host.CheckIn(1, "b");
  // c had its order before the rate rose, and diverges at the lower one.
  DivergeAll(host, 3);
  ASSERT_EQ(host.progress().client_rate, 1.0);
  FinishVersion(host, 1.2);
  EXPECT_EQ(host.publications.back().client_rate_limit, 1.0) << "the optimizer is told";
  EXPECT_EQ(host.progress().client_rate, 1.0) << "and need not listen";
}

// It fails at once, again and again, while the others are at work.
TEST(Divergence, OneClientSaysNothingOfTheRate) {
  Host host(Asynchronous("server_local"));
  host.Begin({"a", "b", "c"});
  const std::string bad = host.Out(WorkKind::kTrain)[0].client.value();
  for (int i = 0; i < 300; ++i) {
    for (const WorkOrder& order : host.Out(WorkKind::kTrain)) {
      if (order.client.value() == bad) Diverge(host, order);
    }
    host.CheckIn(host.now, bad);
  }
  EXPECT_EQ(host.progress().client_rate, 1.0);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
}

TEST(Divergence, OnlyValuesThatAreNotFiniteCount) {
  Host host(Asynchronous("server_local"));
  host.Begin({"a", "b", "c"});
  for (int i = 0; i < 300; ++i) {
    Diverge(host, host.Out(WorkKind::kTrain).at(0), LossCause::kAbandoned);
  }
  EXPECT_EQ(host.progress().client_rate, 1.0);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
}

TEST(Divergence, ARateThatIsNotTheServersStays) {
  Host host(Asynchronous("global"));
  host.Begin({"a", "b", "c"});
  DivergeAll(host, 50);
  EXPECT_EQ(host.progress().client_rate, 1.0);
}

TEST(Divergence, AJobThatGetsNothingElseIsPaused) {
  Host host(Asynchronous("global"));
  host.Begin({"a", "b", "c"});
  DivergeAll(host, Divergence::kMostInARow - 1);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
  DivergeAll(host, 1);
  ASSERT_EQ(host.progress().state, JobState::kPaused);
  EXPECT_THAT(host.progress().reason, HasSubstr("no update of 100 in a row was usable; the last "
                                                "one: the loss became inf"));
  // The operator lets it go on: the row begins anew.
  host.Feed(host.now, event::Command{event::Command::Verb::kResume});
  ASSERT_EQ(host.progress().state, JobState::kRunning);
  ASSERT_THAT(host.Out(WorkKind::kTrain), SizeIs(3));
  DivergeAll(host, 1);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
}

TEST(Divergence, AnUpdateEndsTheRow) {
  Divergence divergence;
  for (int i = 0; i < 99; ++i) divergence.NoteLoss(ClientId("a"), true);
  divergence.NoteResult();
  divergence.NoteLoss(ClientId("a"), true);
  EXPECT_FALSE(divergence.IsHopeless(0));
  EXPECT_EQ(divergence.in_a_row(), 1);
}

TEST(Divergence, OrdersOfAnEarlierHigherRateDoNotCount) {
  Divergence divergence;
  divergence.NoteLoss(ClientId("a"), /*at_rate=*/false);
  EXPECT_FALSE(divergence.RateIsTooHigh(0));
  divergence.NoteLoss(ClientId("a"), /*at_rate=*/true);
  EXPECT_TRUE(divergence.RateIsTooHigh(0));
  divergence.BeginRate();
  EXPECT_FALSE(divergence.RateIsTooHigh(0));
}

}  // namespace
}  // namespace tributary
