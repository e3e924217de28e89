#include "schedulers/sync_round.h"

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
using ::testing::Optional;
using ::testing::SizeIs;
using ::tributary::test::At;
using ::tributary::test::IsOk;
using ::tributary::test::SchedulerHost;
using ::tributary::test::StatusIs;

class Host : public SchedulerHost {
 public:
  explicit Host(const SyncRoundOptions& options, uint64_t seed = 1)
      : SchedulerHost(SyncRoundScheduler::Create(options, {.rng = Rng(seed)}).value()) {}
};

SyncRoundOptions Rounds(int64_t clients) {
  SyncRoundOptions options;
  options.clients_per_round = clients;
  options.deadline_seconds = absl::Seconds(100);
  return options;
}

TEST(SyncRoundTest, WaitsForEnoughClientsAndDecidesAtTheEndOfTheInstant) {
  Host host(Rounds(2));
  EXPECT_EQ(host.In(1, "b").wake_at, std::nullopt);
  const Decision enough = host.In(2, "a");
  EXPECT_THAT(enough.dispatch, IsEmpty());
  EXPECT_EQ(enough.wake_at, At(2));
  EXPECT_EQ(host.In(2, "c").wake_at, At(2));
  const Decision start = host.Timer(2);
  ASSERT_THAT(start.dispatch, SizeIs(2));
  for (const Dispatch& d : start.dispatch) {
    EXPECT_EQ(d.group, 1);
    EXPECT_EQ(d.local_steps, std::nullopt);
    EXPECT_EQ(d.deadline, At(102));
  }
  EXPECT_EQ(start.wake_at, At(102));
}

TEST(SyncRoundTest, TheCohortDoesNotDependOnTheOrderOfCheckIns) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Host one(Rounds(2), seed), two(Rounds(2), seed);
    for (const char* client : {"a", "b", "c", "d"}) one.In(1, client);
    for (const char* client : {"c", "d", "b", "a"}) two.In(1, client);
    EXPECT_EQ(Host::Names(one.Timer(1)), Host::Names(two.Timer(1)));
  }
}

TEST(SyncRoundTest, ClosesWithAscendingOrdersWhenAllHaveReportedAndWaitsForPublished) {
  Host host(Rounds(3));
  const std::vector<std::string> cohort = host.Start(0, 3);
  ASSERT_THAT(cohort, SizeIs(3));
  EXPECT_THAT(host.Update(10, cohort[2]).close, IsEmpty());
  EXPECT_THAT(host.Update(11, cohort[0]).close, IsEmpty());
  const Decision last = host.Update(12, cohort[1]);
  ASSERT_THAT(last.close, SizeIs(1));
  EXPECT_EQ(last.close[0].group, 1);
  EXPECT_THAT(last.close[0].updates, ElementsAre(1, 2, 3));
  for (const std::string& client : cohort) {
    EXPECT_EQ(host.In(12, client).wake_at, std::nullopt) << "no round before Published";
  }
  EXPECT_THAT(host.Timer(13).dispatch, IsEmpty());
  EXPECT_EQ(host.Publish(14).wake_at, At(14));
  const Decision next = host.Timer(14);
  EXPECT_THAT(next.dispatch, SizeIs(3));
  EXPECT_EQ(next.dispatch[0].group, 2);
  EXPECT_EQ(host.Stat("rounds"), 1);
}

TEST(SyncRoundTest, ChecksOutAndDoesNotCountWhoHasLeft) {
  Host host(Rounds(2));
  host.In(0, "a");
  host.Out(1, "a");
  EXPECT_EQ(host.In(2, "b").wake_at, std::nullopt);
  EXPECT_THAT(host.Timer(2).dispatch, IsEmpty());
}

TEST(SyncRoundTest, RepeatedCheckInsAreOne) {
  Host host(Rounds(2));
  host.In(0, "a");
  EXPECT_EQ(host.In(0, "a").wake_at, std::nullopt);
}

TEST(SyncRoundTest, AnUpdateAtTheDeadlineIsInTime) {
  SyncRoundOptions options = Rounds(2);
  options.min_reports = 1;
  Host host(options);
  const auto cohort = host.Start(0, 2);
  host.Update(100, cohort[1]);
  const Decision deadline = host.Timer(100);
  ASSERT_THAT(deadline.close, SizeIs(1));
  EXPECT_THAT(deadline.close[0].updates, ElementsAre(host.OrderOf(cohort[1]).id));
}

TEST(SyncRoundTest, AStragglersUpdateIsDroppedAndTheStragglerIsFreeAgain) {
  SyncRoundOptions options = Rounds(2);
  options.min_reports = 1;
  Host host(options);
  const auto cohort = host.Start(0, 2);
  host.Update(50, cohort[0]);
  ASSERT_THAT(host.Timer(100).close, SizeIs(1));
  host.Publish(100);
  host.In(100, cohort[0]);
  EXPECT_THAT(host.Timer(100).dispatch, IsEmpty()) << "the straggler is busy, so only one is idle";
  const Decision late = host.Update(120, cohort[1]);
  EXPECT_THAT(late.drop, ElementsAre(host.OrderOf(cohort[1]).id));
  EXPECT_THAT(late.close, IsEmpty());
  EXPECT_EQ(host.Stat("late_dropped"), 1);
  EXPECT_EQ(host.In(120, cohort[1]).wake_at, At(120));
  EXPECT_THAT(host.Timer(120).dispatch, SizeIs(2));
}

TEST(SyncRoundTest, ARoundWithTooFewReportsFailsAndTheNextStarts) {
  SyncRoundOptions options = Rounds(3);
  options.min_reports = 2;
  Host host(options);
  const auto cohort = host.Start(0, 6);
  host.Update(10, cohort[0]);
  const Decision failed = host.Timer(100);
  EXPECT_THAT(failed.close, IsEmpty());
  EXPECT_THAT(failed.drop, ElementsAre(host.OrderOf(cohort[0]).id));
  EXPECT_THAT(failed.dispatch, SizeIs(3)) << "the three others are idle";
  EXPECT_EQ(failed.wake_at, At(200));
  EXPECT_EQ(host.Stat("failed_rounds"), 1);
  EXPECT_EQ(host.Stat("rounds"), 0);
}

TEST(SyncRoundTest, OverSelectionClosesAtTheGoalAndDropsTheRest) {
  SyncRoundOptions options = Rounds(10);
  options.over_selection = 1.1;  // 11.000000000000002 in floating point
  Host host(options);
  const auto cohort = host.Start(0, 20);
  ASSERT_THAT(cohort, SizeIs(11));
  for (int i = 0; i < 9; ++i) EXPECT_THAT(host.Update(i, cohort[i]).close, IsEmpty());
  const Decision goal = host.Update(9, cohort[10]);
  ASSERT_THAT(goal.close, SizeIs(1));
  EXPECT_THAT(goal.close[0].updates, SizeIs(10));
  EXPECT_THAT(host.Update(9, cohort[9]).drop, ElementsAre(10));
}

TEST(SyncRoundTest, AFractionIsOfTheClientsKnownIdleAndBusy) {
  SyncRoundOptions options = Rounds(10);
  options.fraction = 0.29;  // 28.999999999999996 of 100 in floating point
  options.min_available = 60;
  options.min_reports = 1;
  Host host(options);
  for (int i = 0; i < 99; ++i) host.In(0, "c" + std::to_string(i));
  EXPECT_THAT(host.In(0, "c99").wake_at, Optional(At(0)));
  EXPECT_THAT(host.Timer(0).dispatch, SizeIs(29));
  EXPECT_THAT(host.Timer(100).dispatch, SizeIs(29)) << "29 of 100 although 29 are busy";
}

TEST(SyncRoundTest, AFractionOfFewIsAtLeastOne) {
  SyncRoundOptions options = Rounds(10);
  options.fraction = 0.01;
  Host host(options);
  EXPECT_THAT(host.Start(0, 3), SizeIs(1));
}

TEST(SyncRoundTest, MinAvailableBelowTheGoalLowersTheGoal) {
  SyncRoundOptions options = Rounds(10);
  options.min_available = 2;
  Host host(options);
  const auto cohort = host.Start(0, 2);
  ASSERT_THAT(cohort, SizeIs(2));
  host.Update(1, cohort[0]);
  EXPECT_THAT(host.Update(2, cohort[1]).close, SizeIs(1));
}

TEST(SyncRoundTest, ALostClientIsReplacedByOneThatIsIdle) {
  Host host(Rounds(2));
  const auto cohort = host.Start(0, 3);
  const Decision lost = host.Lost(10, cohort[0]);
  EXPECT_THAT(lost.dispatch, IsEmpty());
  EXPECT_EQ(lost.wake_at, At(10));
  host.In(10, cohort[0]);
  const Decision replaced = host.Timer(10);
  ASSERT_THAT(replaced.dispatch, SizeIs(1));
  EXPECT_NE(replaced.dispatch[0].client.value(), cohort[0]) << "somebody new comes first";
  EXPECT_EQ(replaced.dispatch[0].group, 1);
  EXPECT_EQ(replaced.dispatch[0].deadline, At(100)) << "the round's deadline stays";
  EXPECT_EQ(replaced.wake_at, At(100));
  EXPECT_EQ(host.Stat("replaced"), 1);
  host.Update(20, cohort[1]);
  EXPECT_THAT(host.Update(21, Host::Names(replaced)[0]).close, SizeIs(1));
}

TEST(SyncRoundTest, AReplacementIsMadeWhenSomebodyChecksInLater) {
  Host host(Rounds(2));
  const auto cohort = host.Start(0, 2);
  EXPECT_EQ(host.Lost(10, cohort[0]).wake_at, At(100));
  host.Update(20, cohort[1]);
  EXPECT_EQ(host.In(30, "new").wake_at, At(30));
  EXPECT_THAT(Host::Names(host.Timer(30)), ElementsAre("new"));
  EXPECT_THAT(host.Update(40, "new").close, SizeIs(1));
}

TEST(SyncRoundTest, WithoutAReplacementTheRoundClosesWithMinReports) {
  SyncRoundOptions options = Rounds(3);
  options.min_reports = 2;
  Host host(options);
  const auto cohort = host.Start(0, 3);
  host.Update(10, cohort[0]);
  host.Update(11, cohort[1]);
  const Decision lost = host.Lost(12, cohort[2]);
  ASSERT_THAT(lost.close, SizeIs(1));
  EXPECT_THAT(lost.close[0].updates, SizeIs(2));
}

TEST(SyncRoundTest, ALossBeforeTheLastReportClosesAtThatReport) {
  SyncRoundOptions options = Rounds(3);
  options.min_reports = 2;
  Host host(options);
  const auto cohort = host.Start(0, 3);
  host.Lost(9, cohort[2]);
  host.Update(10, cohort[0]);
  EXPECT_THAT(host.Update(11, cohort[1]).close, SizeIs(1));
}

TEST(SyncRoundTest, AClientThatFailsAgainAndAgainIsGivenUp) {
  SyncRoundOptions options = Rounds(2);
  options.min_reports = 1;
  Host host(options);
  const auto cohort = host.Start(0, 2);
  for (int i = 1; i <= 2; ++i) {
    host.Lost(i, cohort[0]);
    host.In(i, cohort[0]);
    EXPECT_THAT(Host::Names(host.Timer(i)), ElementsAre(cohort[0])) << "nobody else is there";
  }
  host.Lost(3, cohort[0]);
  host.In(3, cohort[0]);
  EXPECT_THAT(host.Timer(3).dispatch, IsEmpty());
  EXPECT_THAT(host.Update(4, cohort[1]).close, SizeIs(1));
}

TEST(SyncRoundTest, OnLossCloseReplacesNobody) {
  SyncRoundOptions options = Rounds(2);
  options.min_reports = 1;
  options.on_loss = "close";
  Host host(options);
  const auto cohort = host.Start(0, 4);
  EXPECT_EQ(host.Lost(10, cohort[0]).wake_at, At(100));
  EXPECT_THAT(host.Update(11, cohort[1]).close, SizeIs(1));
  EXPECT_EQ(host.Stat("replaced"), 0);
}

TEST(SyncRoundTest, OnLossCloseFailsARoundThatCanNoLongerSucceed) {
  SyncRoundOptions options = Rounds(2);
  options.on_loss = "close";
  Host host(options);
  const auto cohort = host.Start(0, 4);
  host.Update(10, cohort[0]);
  const Decision failed = host.Lost(11, cohort[1]);
  EXPECT_THAT(failed.drop, ElementsAre(host.OrderOf(cohort[0]).id));
  EXPECT_EQ(failed.wake_at, At(11)) << "two others are idle";
  EXPECT_THAT(host.Timer(11).dispatch, SizeIs(2));
}

TEST(SyncRoundTest, AnUpdateOfWorkThatNobodyGaveIsDropped) {
  Host host(Rounds(2));
  host.Start(0, 2);
  const Decision decision = host.Send(
      1,
      UpdateAccepted{.client = ClientId("x"), .work_order = 77, .group = 1, .dispatched_at = {}});
  EXPECT_THAT(decision.drop, ElementsAre(77));
}

TEST(SyncRoundTest, RefusesOptionsThatContradictOneAnother) {
  SyncRoundOptions many = Rounds(5);
  many.min_reports = 6;
  EXPECT_THAT(SyncRoundScheduler::Create(many, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("min_reports is 6; allowed are 1 to clients_per_round, 5")));
  SyncRoundOptions few = Rounds(5);
  few.min_reports = 4;
  few.min_available = 3;
  EXPECT_THAT(SyncRoundScheduler::Create(few, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("min_available is 3")));
}

TEST(SyncRoundTest, RefusesOptionsOutOfRange) {
  const std::vector<std::pair<const char*, nlohmann::json>> bad = {
      {"clients_per_round", 0}, {"fraction", 0.0},       {"fraction", 1.5},
      {"min_reports", 0},       {"deadline_seconds", 0}, {"over_selection", 0.9},
      {"min_available", 0},     {"on_loss", "ignore"},   {"clients", 10}};
  for (const auto& [field, value] : bad) {
    EXPECT_THAT(SchedulerRegistry().Create({"sync_round", {{field, value}}, {}}, {}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

TEST(SyncRoundTest, LoadRefusesWhatSaveDidNotWriteAndStaysAsItWas) {
  Host host(Rounds(2));
  host.Start(0, 4);
  const nlohmann::json good = host.scheduler().Save();
  std::vector<nlohmann::json> bad = {nlohmann::json(), nlohmann::json::array(), "text", 1};
  for (const auto& [key, value] : good.items()) {
    bad.push_back(good);
    bad.back().erase(key);
    bad.push_back(good);
    bad.back()[key] = "x";
    bad.push_back(good);
    bad.back()[key] = -1;
  }
  bad.push_back(good);
  bad.back()["unknown"] = 1;
  bad.push_back(good);
  bad.back()["outstanding"] = 3;
  bad.push_back(good);
  bad.back()["phase"] = 9;
  bad.push_back(good);
  bad.back()["available"].push_back(bad.back()["available"][0]);
  for (const nlohmann::json& json : bad) {
    if (json.is_object() && json.value("deadline", nlohmann::json()) == -1) continue;
    EXPECT_THAT(host.scheduler().Load(json), StatusIs(absl::StatusCode::kDataLoss)) << json;
    EXPECT_EQ(host.scheduler().Save(), good);
  }
  EXPECT_THAT(host.scheduler().Load(good), IsOk());
}

}  // namespace
}  // namespace tributary
