#include "server/coordinator/job_controller.h"

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/coordinator/job_executor.h"
#include "tests/server/coordinator/controller_host.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::IsNull;
using ::testing::NotNull;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using ::tributary::test::At;
using Host = ::tributary::test::ControllerHost;
using ::tributary::test::Spec;

std::vector<std::string> Clients(const std::vector<WorkOrder>& orders) {
  std::vector<std::string> names;
  for (const WorkOrder& order : orders) names.push_back(order.client.value());
  return names;
}

// ---- initialise ------------------------------------------------------------------------

TEST(Initialise, AsksOneTrainingClientAndNeverAnEvaluator) {
  Host host;
  host.CheckIn(0, "judge", /*evaluate_only=*/true);
  EXPECT_THAT(host.sent, IsEmpty());
  host.CheckIn(1, "b");
  host.CheckIn(2, "a");
  ASSERT_THAT(Clients(host.Out(WorkKind::kInitialise)), ElementsAre("b"));
  EXPECT_EQ(host.sent[0].seed, WorkOrderSeed(1, 0));
}

TEST(Initialise, AsksTheNextClientWhenTheFirstFails) {
  Host host;
  host.CheckIn(0, "a");
  host.CheckIn(0, "b");
  const WorkOrder first = host.Out(WorkKind::kInitialise).at(0);
  host.Feed(1, event::WorkFailed{first.id, LossCause::kAbandoned, "no memory"});
  ASSERT_THAT(Clients(host.Out(WorkKind::kInitialise)), ElementsAre("b"));
  EXPECT_EQ(host.sent.back().seed, first.seed) << "whoever makes it, it is the same model";
  EXPECT_THAT(host.progress().lost, ElementsAre(Pair("abandoned", 1)));
}

TEST(Initialise, InstallsTheModelOfAFileWithoutAsking) {
  Host host(Spec(), /*initial_model=*/true);
  ASSERT_EQ(host.installs.size(), 1u);
  EXPECT_EQ(host.installs[0].work_order, 0);
  host.CheckIn(0, "a");
  EXPECT_THAT(host.sent, IsEmpty());
  host.Published(1);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
  EXPECT_EQ(host.progress().version, 0);
}

TEST(Initialise, ASecondModelIsIgnored) {
  Host host;
  host.Begin({"a", "b"});
  host.Feed(1, event::ModelMade{1});
  EXPECT_EQ(host.installs.size(), 1u);
}

// ---- train -----------------------------------------------------------------------------

TEST(Train, CombinesARoundInWorkOrderOrder) {
  Host host;
  host.Begin({"a", "b"});
  const auto out = host.Out(WorkKind::kTrain);
  ASSERT_THAT(Clients(out), UnorderedElementsAre("a", "b"));
  EXPECT_EQ(out[0].seed, WorkOrderSeed(1, 1));
  EXPECT_EQ(out[1].seed, WorkOrderSeed(1, 2));
  host.Finish(5, out[1].id, /*examples=*/30, /*steps=*/4);
  EXPECT_THAT(host.publications, IsEmpty());
  host.Finish(6, out[0].id, /*examples=*/10, /*steps=*/3);
  ASSERT_EQ(host.publications.size(), 1u);
  const action::PublishVersion& publication = host.publications[0];
  EXPECT_EQ(publication.version, 1);
  ASSERT_EQ(publication.parts.size(), 2u);
  EXPECT_EQ(publication.parts[0].info.work_order, out[0].id);
  EXPECT_EQ(publication.parts[0].client, out[0].client);
  EXPECT_EQ(publication.parts[0].staleness, 0);
  EXPECT_EQ(publication.parts[1].info.work_order, out[1].id);

  host.Published(7);
  EXPECT_EQ(host.progress().version, 1);
  EXPECT_EQ(host.progress().updates, 2);
  EXPECT_EQ(host.progress().client_steps, 7);
  EXPECT_EQ(host.progress().uplink_bytes, 200);
  EXPECT_DOUBLE_EQ(host.progress().last_train_loss, 1.5);
}

JobSpec AsynchronousHypergradient() {
  return Spec({{"scheduler", {{"sync_round", nullptr}, {"fedbuff", {{"goal", 2}}}}},
               {"hypergradient", {{"variant", "server_local"}}},
               {"stop", {{"versions", 100}}}});
}

event::VersionPublished NextVersion(const Host& host, double client_rate) {
  return {.version = host.progress().version + 1,
          .model_digest = Sha256::Of("model"),
          .delta_norm = 0.5,
          .client_rate = client_rate};
}

TEST(Train, OrdersCarryTheRateOfTheirVersionAndUpdatesAreBroughtToTodays) {
  Host host(AsynchronousHypergradient());
  host.Begin({"a", "b", "c"});
  const auto first = host.Out(WorkKind::kTrain);
  ASSERT_EQ(first.size(), 3u);
  for (const WorkOrder& order : first) EXPECT_EQ(order.client_rate, 1.0);
  host.Finish(1, first[0].id);
  host.Finish(1, first[1].id);
  ASSERT_EQ(host.publications.size(), 1u);
  EXPECT_EQ(host.publications[0].parts[0].rate_ratio, 1.0);
  host.Feed(2, NextVersion(host, 1.5));
  EXPECT_EQ(host.progress().client_rate, 1.5);
  host.CheckIn(3, "a");
  const WorkOrder second = host.sent.back();
  EXPECT_EQ(second.client_rate, 1.5);
  host.Finish(4, first[2].id);
  host.Finish(4, second.id);
  ASSERT_EQ(host.publications.size(), 2u);
  ASSERT_EQ(host.publications[1].parts.size(), 2u);
  EXPECT_EQ(host.publications[1].parts[0].rate_ratio, 1.5) << "trained at a rate of 1";
  EXPECT_EQ(host.publications[1].parts[1].rate_ratio, 1.0);
}

// a and b work on version 0 twice each: their second updates repeat their first.
TEST(Train, APublicationSaysHowMuchOfItTheLastOneHadToo) {
  Host host(AsynchronousHypergradient());
  host.Begin({"a", "b", "c"});
  const auto first = host.Out(WorkKind::kTrain);
  host.Finish(1, first[0].id);
  host.CheckIn(1, first[0].client.value());
  const WorkOrder again = host.sent.back();
  ASSERT_EQ(again.version, 0);
  host.Finish(2, first[1].id);
  ASSERT_EQ(host.publications.size(), 1u);
  EXPECT_EQ(host.publications[0].repeated, 0.0);
  host.Published(2);
  host.Finish(3, again.id);
  host.Finish(3, first[2].id);
  ASSERT_EQ(host.publications.size(), 2u);
  EXPECT_EQ(host.publications[1].repeated, 0.5);
}

TEST(Train, TheServersRateIsToldToClientsThatFollowTheGlobalUpdate) {
  for (const bool follow : {false, true}) {
    const nlohmann::json local = follow ? nlohmann::json::object() : nlohmann::json();
    Host host(Spec({{"train", {{"hypergradient", local}}}, {"stop", {{"versions", 100}}}}));
    host.Begin({"a", "b"});
    const auto first = host.Out(WorkKind::kTrain);
    EXPECT_EQ(first[0].server_rate, std::nullopt) << "nothing is before version 0";
    for (const WorkOrder& order : first) host.Finish(1, order.id);
    host.Feed(2, event::VersionPublished{1, Sha256::Of("model"), 0.75, 0.5});
    for (const WorkOrder& order : first) host.CheckIn(3, order.client.value());
    EXPECT_EQ(host.sent.back().version, 1);
    EXPECT_EQ(host.sent.back().server_rate, follow ? std::optional(0.75) : std::nullopt);
  }
}

TEST(Train, NothingChangesWhileAVersionIsBeingMade) {
  Host host;
  host.Begin({"a", "b"});
  const auto out = host.Out(WorkKind::kTrain);
  host.Finish(5, out[0].id);
  host.Finish(5, out[1].id);
  ASSERT_EQ(host.publications.size(), 1u);
  host.CheckIn(6, "a");
  host.CheckIn(6, "b");
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty()) << "the next round needs version 1";
  host.Published(8);
  const auto next = host.Out(WorkKind::kTrain);
  ASSERT_EQ(next.size(), 2u);
  EXPECT_EQ(next[0].version, 1);
  EXPECT_EQ(next[0].dispatched_at, At(8)) << "events that waited happen when their turn comes";
}

TEST(Train, ARefusedUpdateIsCountedAndTheClientReplaced) {
  Host host;
  host.Begin({"a", "b", "c"});
  const auto out = host.Out(WorkKind::kTrain);
  ASSERT_EQ(out.size(), 2u);
  host.Feed(3, event::WorkFailed{out[0].id, LossCause::kNotFinite, "NaN in fc.weight"});
  EXPECT_THAT(host.progress().lost, ElementsAre(Pair("not_finite", 1)));
  const auto now_out = host.Out(WorkKind::kTrain);
  ASSERT_EQ(now_out.size(), 2u);
  EXPECT_NE(now_out[1].client, out[0].client);
  EXPECT_THAT(host.controller->FindWork(out[0].id), IsNull());
}

TEST(Train, AnUpdateOfUnknownOrFinishedWorkChangesNothing) {
  Host host;
  host.Begin({"a", "b"});
  const auto out = host.Out(WorkKind::kTrain);
  host.Finish(5, out[0].id);
  EXPECT_TRUE(host.controller->WasAccepted(out[0].id));
  host.Feed(6, event::UpdateArrived{{.work_order = out[0].id}, 100});
  host.Feed(6, event::UpdateArrived{{.work_order = 99}, 100});
  EXPECT_EQ(host.progress().uplink_bytes, 100);
  EXPECT_FALSE(host.controller->WasAccepted(99));
}

TEST(Train, AnUpdateAfterItsDeadlineIsLate) {
  // Two of two are wanted, so the round fails at its deadline of 10 s and the update is late.
  Host host(Spec({{"scheduler", {{"sync_round", {{"deadline_seconds", 10}}}}}}));
  host.Begin({"a", "b"});
  const auto out = host.Out(WorkKind::kTrain);
  host.Feed(10, event::TimerFired{});
  host.Finish(11, out[0].id);
  EXPECT_EQ(host.progress().late_updates, 1);
  EXPECT_THAT(host.dropped, ElementsAre(out[0].id));
}

TEST(Train, SeedsDoNotDependOnEvaluationsInBetween) {
  Host with_judge, without;
  with_judge.CheckIn(0, "judge", true);
  with_judge.Begin({"a", "b"});
  without.Begin({"a", "b"});
  EXPECT_GT(with_judge.sent.size(), without.sent.size());
  const auto a = with_judge.Out(WorkKind::kTrain), b = without.Out(WorkKind::kTrain);
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) EXPECT_EQ(a[i].seed, b[i].seed);
}

// ---- evaluate --------------------------------------------------------------------------

TEST(Evaluate, WeighsTheReportsByExamples) {
  Host host;
  host.CheckIn(0, "j1", true);
  host.CheckIn(0, "j2", true);
  host.Begin({"a", "b"});
  const auto out = host.Out(WorkKind::kEvaluate);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[0].version, 0);
  host.Report(1, out[0].id, 30, 0.5);
  EXPECT_THAT(host.evaluations, IsEmpty());
  host.Report(2, out[1].id, 10, 0.9);
  ASSERT_EQ(host.evaluations.size(), 1u);
  EXPECT_EQ(host.evaluations[0].version, 0);
  EXPECT_EQ(host.evaluations[0].num_examples, 40);
  EXPECT_DOUBLE_EQ(host.evaluations[0].accuracy, 0.6);
  EXPECT_DOUBLE_EQ(host.progress().evaluation.accuracy, 0.6);
}

// Runs rounds of "a" and "b" without answering evaluations.
void RunRound(Host& host, double seconds) {
  for (const WorkOrder& order : host.Out(WorkKind::kTrain)) {
    if (host.controller->FindWork(order.id) != nullptr) host.Finish(seconds, order.id);
  }
  host.Published(seconds);
  host.CheckIn(seconds, "a");
  host.CheckIn(seconds, "b");
}

TEST(Evaluate, ASlowEvaluatorSkipsToTheNewestVersion) {
  Host host(Spec({{"stop", {{"versions", 9}}}}));
  host.CheckIn(0, "judge", true);
  host.Begin({"a", "b"});
  const WorkOrder first = host.Out(WorkKind::kEvaluate).at(0);
  for (int i = 1; i <= 3; ++i) RunRound(host, i);
  ASSERT_EQ(host.progress().version, 3);
  ASSERT_EQ(host.Out(WorkKind::kEvaluate).size(), 1u) << "training did not wait for it";
  host.Report(4, first.id, 10, 0.2);
  host.CheckIn(4, "judge", true);
  ASSERT_EQ(host.Out(WorkKind::kEvaluate).size(), 1u);
  EXPECT_EQ(host.Out(WorkKind::kEvaluate)[0].version, 3);
}

TEST(Evaluate, TheLastVersionIsEvaluatedBeforeTheJobEnds) {
  Host host(Spec({{"stop", {{"versions", 2}}}, {"evaluate", {{"every_versions", 100}}}}));
  host.Begin({"a", "b"});
  RunRound(host, 1);
  host.CheckIn(1, "judge", true);
  host.Report(1, host.Out(WorkKind::kEvaluate).at(0).id, 10, 0.1);  // of version 0
  host.CheckIn(1, "judge", true);
  EXPECT_THAT(host.Out(WorkKind::kEvaluate), IsEmpty());
  RunRound(host, 2);
  ASSERT_EQ(host.Out(WorkKind::kEvaluate).size(), 1u);
  EXPECT_EQ(host.Out(WorkKind::kEvaluate)[0].version, 2);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  host.Report(3, host.Out(WorkKind::kEvaluate)[0].id, 10, 0.7);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_EQ(host.progress().evaluation.version, 2);
}

TEST(Evaluate, AnEvaluatorThatNeverAnswersDoesNotHoldTheEndForEver) {
  Host host(Spec({{"stop", {{"versions", 1}}}, {"evaluate", {{"deadline_seconds", 30}}}}));
  host.CheckIn(0, "judge", true);
  host.Begin({"a", "b"});
  RunRound(host, 1);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
  ASSERT_TRUE(host.wake.has_value());
  EXPECT_LE(*host.wake, At(31));
  host.Feed(31, event::TimerFired{});
  EXPECT_EQ(host.progress().state, JobState::kDone);
}

TEST(Evaluate, EveryoneIsAskedBeforeTrainingAgain) {
  Host host(Spec({{"evaluate", {{"by", "everyone"}}}}));
  for (const char* client : {"a", "b"}) host.CheckIn(0, client);
  host.Feed(0, event::ModelMade{host.Out(WorkKind::kInitialise).at(0).id});
  host.Published(0);
  host.CheckIn(0, "a");
  ASSERT_THAT(Clients(host.Out(WorkKind::kEvaluate)), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  for (const WorkOrder& order : host.Out(WorkKind::kEvaluate)) host.Report(1, order.id, 10, 0.4);
  host.CheckIn(1, "a");
  host.CheckIn(1, "b");
  EXPECT_EQ(host.evaluations.size(), 1u);
  EXPECT_THAT(Clients(host.Out(WorkKind::kTrain)), UnorderedElementsAre("a", "b"));
}

// ---- participation ---------------------------------------------------------------------

nlohmann::json FedBuff(int64_t goal) {
  return {{"scheduler", {{"sync_round", nullptr}, {"fedbuff", {{"goal", goal}}}}},
          {"stop", {{"versions", 100}}}};
}

TEST(Participation, ClientsBeyondThePlacesTakeTurns) {
  nlohmann::json changes = FedBuff(2);
  changes["participation"] = {{"max_concurrency", 1}};
  Host host(Spec(changes));
  host.Begin({"a", "b"});
  std::vector<std::string> turns;
  for (int i = 1; i <= 4; ++i) {
    const auto out = host.Out(WorkKind::kTrain);
    ASSERT_EQ(out.size(), 1u);
    turns.push_back(out[0].client.value());
    host.Finish(i, out[0].id);
    if (i % 2 == 0) host.Published(i);
    host.CheckIn(i, turns.back());
  }
  EXPECT_NE(turns[0], turns[1]);
  EXPECT_EQ(turns[0], turns[2]);
  EXPECT_EQ(turns[1], turns[3]);
}

TEST(Participation, PlacesLimitASynchronousRoundToo) {
  Host host(Spec({{"scheduler", {{"sync_round", {{"clients_per_round", 2}}}}},
                  {"participation", {{"max_concurrency", 2}}}}));
  host.Begin({"a", "b", "c", "d"});
  EXPECT_EQ(host.Out(WorkKind::kTrain).size(), 2u);
  std::set<std::string> heard;
  for (int round = 1; round <= 2; ++round) {
    for (const WorkOrder& order : host.Out(WorkKind::kTrain)) {
      heard.insert(order.client.value());
      host.Finish(round, order.id);
      host.CheckIn(round, order.client.value());
    }
    host.Published(round);
  }
  EXPECT_EQ(heard.size(), 4u) << "those who wait come before those who have worked";
}

TEST(Participation, AClientRestsBetweenTwoOrders) {
  Host host(Spec({{"participation", {{"min_interval_seconds", 60}}}}));
  host.Begin({"a", "b"});
  RunRound(host, 5);
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  EXPECT_EQ(host.controller->NotBefore(ClientId("a"), At(6)), At(65));
  host.Wait(64.9);
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  host.Wait(65);
  EXPECT_EQ(host.Out(WorkKind::kTrain).size(), 2u);
}

TEST(Participation, TrainingBeginsInsideTheWindowsAlone) {
  nlohmann::json changes = FedBuff(1);
  changes["participation"] = {{"windows", {{{"from", "00:10"}, {"to", "00:20"}}}}};
  Host host(Spec(changes));
  host.Begin({"a"});
  host.Wait(599);
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty()) << "it is midnight";
  host.Wait(600);
  const auto out = host.Out(WorkKind::kTrain);
  ASSERT_EQ(out.size(), 1u);
  host.Finish(1300, out[0].id);
  ASSERT_EQ(host.publications.size(), 1u) << "work that is out goes on when the window closes";
  host.Published(1300);
  host.CheckIn(1300, "a");
  constexpr double kTomorrow = 86400;
  host.Wait(kTomorrow + 599);
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  host.Wait(kTomorrow + 600);
  EXPECT_EQ(host.Out(WorkKind::kTrain).size(), 1u);
}

TEST(Participation, AnIdleClientIsHeldBackWhenTheWindowCloses) {
  Host host(Spec({{"participation", {{"windows", {{{"from", "00:00"}, {"to", "00:20"}}}}}}}));
  host.Begin({"a"});
  host.Wait(1200);  // one of the two clients that a round needs has waited in vain
  host.CheckIn(1300, "b");
  host.Wait(86399);
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  host.Wait(86400);
  EXPECT_EQ(host.Out(WorkKind::kTrain).size(), 2u);
}

// ---- stop, pause, cancel ---------------------------------------------------------------

struct StopCase {
  std::string name;
  nlohmann::json stop;
  Version version;  // at which it stops, with rounds of 2 updates, 10 steps, one a second
};
class StopTest : public ::testing::TestWithParam<StopCase> {};

TEST_P(StopTest, EndsTheJobThereAndNotBefore) {
  nlohmann::json changes = {{"stop", GetParam().stop}};
  if (!GetParam().stop.contains("versions")) changes["stop"]["versions"] = nullptr;
  Host host(Spec(changes));
  host.Begin({"a", "b"});
  for (int i = 1; i <= 6 && !IsEnded(host.progress().state); ++i) RunRound(host, i);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_EQ(host.progress().version, GetParam().version);
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Conditions, StopTest,
    ::testing::Values(StopCase{"versions", {{"versions", 4}}, 4},
                      StopCase{"updates", {{"updates", 5}}, 3},
                      StopCase{"client_steps", {{"client_steps", 20}}, 2},
                      StopCase{"seconds", {{"seconds", 2.5}}, 2},
                      StopCase{"first_of_two", {{"versions", 5}, {"updates", 2}}, 1}),
    [](const auto& test) { return test.param.name; });

TEST(Stop, AtATargetAccuracy) {
  Host host(Spec({{"stop", {{"versions", 100}, {"target_accuracy", 0.8}}}}));
  host.CheckIn(0, "judge", true);
  host.Begin({"a", "b"});
  host.Report(0, host.Out(WorkKind::kEvaluate).at(0).id, 10, 0.79);
  host.CheckIn(0, "judge", true);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
  RunRound(host, 1);
  host.Report(2, host.Out(WorkKind::kEvaluate).at(0).id, 10, 0.81);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_EQ(host.progress().version, 1);
  EXPECT_EQ(host.recalled.size(), 2u) << "the two that were training";
}

TEST(Command, PauseHoldsNewWorkAndResumeSendsIt) {
  Host host;
  host.Begin({"a", "b"});
  const auto out = host.Out(WorkKind::kTrain);
  host.Feed(1, event::Command{event::Command::Verb::kPause});
  host.Feed(1, event::Command{event::Command::Verb::kPause});
  EXPECT_EQ(host.progress().state, JobState::kPaused);
  host.Finish(2, out[0].id);
  host.Finish(2, out[1].id);
  host.CheckIn(2, "a");
  host.CheckIn(2, "b");
  EXPECT_THAT(host.publications, IsEmpty());
  host.Feed(3, event::Command{event::Command::Verb::kResume});
  ASSERT_EQ(host.publications.size(), 1u) << "both updates were kept";
  EXPECT_EQ(host.publications[0].parts.size(), 2u);
  host.Published(4);
  EXPECT_EQ(host.Out(WorkKind::kTrain).size(), 2u);
  EXPECT_THAT(host.states, ElementsAre(JobState::kRunning, JobState::kPaused, JobState::kRunning));
}

TEST(Command, CancelRecallsEverythingAndNothingMatters) {
  Host host;
  host.Begin({"a", "b"});
  const auto out = host.Out(WorkKind::kTrain);
  host.Finish(1, out[0].id);
  host.Feed(2, event::Command{event::Command::Verb::kCancel});
  EXPECT_EQ(host.progress().state, JobState::kCancelled);
  EXPECT_THAT(host.dropped, ElementsAre(out[0].id));
  ASSERT_EQ(host.recalled.size(), 1u);
  EXPECT_EQ(host.recalled[0].work_order, out[1].id);
  EXPECT_THAT(host.controller->Handle({At(3), event::ClientAvailable{ClientId("a")}}), IsEmpty());
}

TEST(Failure, APublicationThatFailsFailsTheJob) {
  Host host;
  host.Begin({"a", "b"});
  for (const WorkOrder& order : host.Out(WorkKind::kTrain)) host.Finish(1, order.id);
  host.Feed(2, event::PublishFailed{"disk full"});
  EXPECT_EQ(host.progress().state, JobState::kFailed);
  EXPECT_EQ(host.progress().reason, "publishing version 1 failed: disk full");
}

// ---- replay ----------------------------------------------------------------------------

TEST(Events, EveryEventSurvivesJson) {
  const UpdateInfo info{.work_order = 7,
                        .base_version = 3,
                        .num_examples = 11,
                        .local_steps = 5,
                        .learning_rate = 0.1,
                        .loss = 1.0 / 3.0,
                        .accuracy = 0.7};
  const std::vector<decltype(JobEvent::what)> all = {
      event::ClientAvailable{ClientId("c"), true, 3},
      event::ClientGone{ClientId("c")},
      event::ModelMade{1},
      event::UpdateArrived{info, 123456789012},
      event::EvaluationArrived{4, 100, 0.1, 0.9},
      event::WorkFailed{5, LossCause::kCorrupt, "say \"why\"\n"},
      event::TimerFired{},
      event::VersionPublished{8, Sha256::Of("x"), 0.3, 1e-300, 1.0 / 3.0},
      event::PublishFailed{"full"},
      event::Command{event::Command::Verb::kResume}};
  ASSERT_EQ(all.size(), std::variant_size_v<decltype(JobEvent::what)>);
  for (size_t i = 0; i < all.size(); ++i) {
    const JobEvent event{absl::FromUnixNanos(1234567890123456789), all[i]};
    const std::string text = ToJson(event).dump();
    const auto back = JobEventFromJson(nlohmann::json::parse(text));
    ASSERT_TRUE(back.ok()) << text << ": " << back.status();
    EXPECT_EQ(back->what.index(), i);
    EXPECT_EQ(back->at, event.at);
    EXPECT_EQ(ToJson(*back).dump(), text);
  }
}

TEST(Events, WhatIsNotAnEventIsRefused) {
  for (
      const char* text :
      {"{}", "[]", "3", R"({"event":"nonsense","at":0})", R"({"event":"model_made","at":0})",
       R"({"event":"model_made","work_order":"x","at":0})", R"({"event":"timer_fired"})",
       R"({"event":"work_failed","work_order":1,"cause":"sloth","message":"","at":0})",
       R"({"event":"version_published","version":1,"model_digest":"ab","server_rate":1,"delta_norm":0,"at":0})"}) {
    const auto event = JobEventFromJson(nlohmann::json::parse(text));
    EXPECT_EQ(event.status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(Events, APublicationSaysWhatIsSpecialAboutIt) {
  action::PublishVersion publication{.version = 4, .group = 2, .parts = {}};
  publication.parts.push_back({.info = {.work_order = 7}, .client = ClientId("c"), .staleness = 3});
  const nlohmann::json plain = ToJson(JobAction(publication), At(1));
  EXPECT_EQ(plain.at("parts").at(0),
            nlohmann::json({{"work_order", 7}, {"client", "c"}, {"staleness", 3}}));
  for (const char* absent : {"mix_models", "beside_momentum", "repeated", "client_rate_limit"}) {
    EXPECT_FALSE(plain.contains(absent)) << absent;
  }
  publication.given_coefficients = publication.mix_models = publication.beside_momentum = true;
  publication.parts[0].coefficient = 0.25;
  publication.parts[0].rate_ratio = 1.5;
  publication.repeated = 0.75;
  publication.client_rate_limit = 0.5;
  const nlohmann::json special = ToJson(JobAction(publication), At(1));
  EXPECT_EQ(special.at("parts").at(0).at("coefficient"), 0.25);
  EXPECT_EQ(special.at("parts").at(0).at("rate_ratio"), 1.5);
  EXPECT_EQ(special.at("repeated"), 0.75);
  EXPECT_EQ(special.at("client_rate_limit"), 0.5);
  EXPECT_EQ(special.at("mix_models"), true);
  EXPECT_EQ(special.at("beside_momentum"), true);
}

// Journals from before there were such rates go on with the digest that they have.
TEST(JobController, AClientThatIsFitForNoRankIsAskedOnceItSaysMore) {
  Host host(Spec({{"lora", {{"ranks", {8, 4}}}}}));
  const auto available = [&](const std::string& client, int64_t rank) {
    host.Feed(1, event::ClientAvailable{ClientId(client), false, 0, rank});
  };
  host.Begin({"maker"});
  available("small", 2);
  EXPECT_TRUE(host.Out(WorkKind::kTrain).empty()) << "rounds are of two";
  EXPECT_EQ(host.controller->progress().clients_without_rank, 1);
  available("small", 2);
  EXPECT_TRUE(host.Out(WorkKind::kTrain).empty());
  available("small", 5);
  EXPECT_EQ(host.controller->progress().clients_without_rank, 0);
  std::map<std::string, int64_t> ranks;
  for (const WorkOrder& order : host.Out(WorkKind::kTrain)) {
    ranks[order.client.value()] = order.adapter_rank;
  }
  EXPECT_THAT(ranks,
              ::testing::ElementsAre(::testing::Pair("maker", 8), ::testing::Pair("small", 4)));
}

TEST(Events, AClientRateOfOneIsNotSaid) {
  const JobEvent plain{At(1), event::VersionPublished{.version = 1}};
  EXPECT_FALSE(ToJson(plain).contains("client_rate"));
  const auto back = JobEventFromJson(ToJson(plain));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(std::get<event::VersionPublished>(back->what).client_rate, 1.0);
}

TEST(Events, AnOrderSaysItsRates) {
  WorkOrder order{.id = 1, .client = ClientId("c")};
  const nlohmann::json plain = ToJson(JobAction(action::SendWork{order}), At(0));
  EXPECT_FALSE(plain.contains("client_rate") || plain.contains("server_rate"));
  order.client_rate = 0.5;
  order.server_rate = 3;
  const nlohmann::json special = ToJson(JobAction(action::SendWork{order}), At(0));
  EXPECT_EQ(special.at("client_rate"), 0.5);
  EXPECT_EQ(special.at("server_rate"), 3.0);
}

TEST(Events, AnOrderSaysWhenItIsExpected) {
  WorkOrder order{.id = 1, .client = ClientId("c"), .deadline = At(9)};
  EXPECT_FALSE(ToJson(JobAction(action::SendWork{order}), At(0)).contains("expected"));
  order.expected_at = At(5);
  EXPECT_EQ(ToJson(JobAction(action::SendWork{order}), At(0)).at("expected"), 5000000000);
}

}  // namespace
}  // namespace tributary
