// Collections of what transforms learn from clients, and the way from task to task.
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "schedulers/scheduler_registry.h"
#include "tests/server/coordinator/controller_host.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ::tributary::test::ControllerHost;
using ::tributary::test::Spec;

nlohmann::json Explores() { return {{"transforms", {"prune_mask"}}}; }
nlohmann::json Projects() { return {{"transforms", {"orthogonal_projection"}}}; }

std::vector<std::string> ClientsOf(const std::vector<WorkOrder>& orders) {
  std::vector<std::string> clients;
  for (const WorkOrder& order : orders) clients.push_back(order.client.value());
  return clients;
}

std::vector<WorkOrderId> IdsOf(const action::PublishVersion& publication) {
  std::vector<WorkOrderId> ids;
  for (const auto& part : publication.parts) ids.push_back(part.info.work_order);
  return ids;
}

// Answers every order of that kind.
void FinishAll(ControllerHost& host, double seconds, WorkKind kind) {
  for (const WorkOrder& order : host.Out(kind)) host.Finish(seconds, order.id);
}

TEST(PhasesTest, ExplorationComesBeforeTrainingAndMakesAVersion) {
  ControllerHost host(Spec({{"aggregation", Explores()}}));
  host.Begin({"a", "b", "c"});
  const std::vector<WorkOrder> out = host.Out(WorkKind::kExplore);
  EXPECT_THAT(ClientsOf(out), UnorderedElementsAre("a", "b", "c"));
  EXPECT_THAT(out, Each(Field(&WorkOrder::version, 0)));
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  for (const WorkOrder& order : out) {
    EXPECT_THAT(host.publications, IsEmpty());
    host.Finish(1, order.id);
  }
  ASSERT_THAT(host.publications, SizeIs(1));
  EXPECT_EQ(host.publications[0].learns, CollectKind::kExplore);
  EXPECT_EQ(host.publications[0].version, 1);
  EXPECT_THAT(IdsOf(host.publications[0]), ElementsAre(2, 3, 4));  // 1 made the first model
  host.Published(2);
  EXPECT_EQ(host.progress().updates, 0);
  for (const char* client : {"a", "b", "c"}) host.CheckIn(2, client);
  const std::vector<WorkOrder> training = host.Out(WorkKind::kTrain);
  EXPECT_THAT(training, AllOf(SizeIs(2), Each(Field(&WorkOrder::version, 1))));
}

TEST(PhasesTest, ContributionsOfOneCollectionHaveSeedsOfTheirOwn) {
  ControllerHost host(Spec({{"aggregation", Explores()}}));
  host.Begin({"a", "b", "c"});
  std::set<uint64_t> seeds;
  for (const WorkOrder& order : host.Out(WorkKind::kExplore)) seeds.insert(order.seed);
  EXPECT_THAT(seeds, SizeIs(3));
}

TEST(PhasesTest, ACollectionAsksNoMoreThanItsClients) {
  ControllerHost host(Spec({{"aggregation", Explores()}, {"collection", {{"clients", 2}}}}));
  host.Begin({"a", "b", "c", "d"});
  EXPECT_THAT(host.Out(WorkKind::kExplore), SizeIs(2));
  FinishAll(host, 1, WorkKind::kExplore);
  ASSERT_THAT(host.publications, SizeIs(1));
  EXPECT_THAT(host.publications[0].parts, SizeIs(2));
}

TEST(PhasesTest, ALostContributionIsAskedOfAnother) {
  ControllerHost host(Spec({{"aggregation", Explores()}, {"collection", {{"clients", 1}}}}));
  host.Begin({"a", "b"});
  ASSERT_THAT(host.Out(WorkKind::kExplore), SizeIs(1));
  const WorkOrder first = host.Out(WorkKind::kExplore)[0];
  host.Feed(1, event::WorkFailed{first.id, LossCause::kAbandoned, "no"});
  EXPECT_THAT(host.Out(WorkKind::kExplore), IsEmpty());
  host.CheckIn(1, first.client.value());
  ASSERT_THAT(host.Out(WorkKind::kExplore), SizeIs(1));
  FinishAll(host, 2, WorkKind::kExplore);
  EXPECT_THAT(host.publications, SizeIs(1));
}

TEST(PhasesTest, AfterTheDeadlineTheMinimumIsEnoughAndTheRestIsCalledBack) {
  ControllerHost host(Spec(
      {{"aggregation", Explores()}, {"collection", {{"minimum", 2}, {"deadline_seconds", 10}}}}));
  host.Begin({"a", "b", "c"});
  const std::vector<WorkOrder> out = host.Out(WorkKind::kExplore);
  host.Finish(1, out[0].id);
  host.Wait(20);
  EXPECT_THAT(host.publications, IsEmpty()) << "one is less than the minimum";
  host.Finish(21, out[1].id);
  ASSERT_THAT(host.publications, SizeIs(1));
  EXPECT_THAT(host.publications[0].parts, SizeIs(2));
  ASSERT_THAT(host.recalled, SizeIs(1));
  EXPECT_EQ(host.recalled[0].work_order, out[2].id);
  host.Feed(
      22, event::UpdateArrived{{.work_order = out[2].id, .num_examples = 1, .local_steps = 1}, 10});
  EXPECT_THAT(host.publications, SizeIs(1)) << "too late";
}

TEST(PhasesTest, WhoLeavesIsNotWaitedFor) {
  ControllerHost host(Spec({{"aggregation", Explores()}}));
  host.Begin({"a", "b"});
  const std::vector<WorkOrder> out = host.Out(WorkKind::kExplore);
  host.Finish(1, out[0].id);
  host.Feed(2, event::WorkFailed{out[1].id, LossCause::kTimedOut, "silent"});
  EXPECT_THAT(host.publications, IsEmpty()) << "it may try again";
  host.Feed(3, event::ClientGone{out[1].client});
  EXPECT_THAT(host.publications, SizeIs(1));
}

TEST(PhasesTest, APausedJobCollectsAndLearnsWhenItGoesOn) {
  ControllerHost host(Spec({{"aggregation", Explores()}}));
  host.Begin({"a"});
  host.Feed(1, event::Command{event::Command::Verb::kPause});
  FinishAll(host, 2, WorkKind::kExplore);
  EXPECT_THAT(host.publications, IsEmpty());
  host.Feed(3, event::Command{event::Command::Verb::kResume});
  EXPECT_THAT(host.publications, SizeIs(1));
}

TEST(PhasesTest, ACancelledCollectionLeavesNothingBehind) {
  ControllerHost host(Spec({{"aggregation", Explores()}}));
  host.Begin({"a", "b"});
  host.Finish(1, host.Out(WorkKind::kExplore)[0].id);
  host.Feed(2, event::Command{event::Command::Verb::kCancel});
  EXPECT_EQ(host.progress().state, JobState::kCancelled);
  EXPECT_THAT(host.dropped, SizeIs(1));
  EXPECT_THAT(host.recalled, SizeIs(1));
}

// One version of training with everybody who is there.
void TrainOnce(ControllerHost& host, double seconds) {
  const size_t publications = host.publications.size();
  for (const char* client : {"a", "b"}) host.CheckIn(seconds, client);
  FinishAll(host, seconds, WorkKind::kTrain);
  ASSERT_EQ(host.publications.size(), publications + 1);
  host.Published(seconds);
}

TEST(PhasesTest, TasksFollowOneAnotherAndTheLastOneEndsTheJob) {
  ControllerHost host(Spec(
      {{"stop", {{"versions", 1000}}}, {"continual", {{"tasks", 2}, {"versions_per_task", 2}}}}));
  host.Begin({"a", "b"});
  TrainOnce(host, 1);
  EXPECT_EQ(host.progress().task, 0);
  TrainOnce(host, 2);
  EXPECT_EQ(host.progress().task, 1);
  for (const char* client : {"a", "b"}) host.CheckIn(3, client);
  EXPECT_THAT(host.Out(WorkKind::kTrain), AllOf(SizeIs(2), Each(Field(&WorkOrder::task, 1))));
  TrainOnce(host, 4);
  EXPECT_EQ(host.progress().state, JobState::kRunning);
  TrainOnce(host, 5);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_EQ(host.progress().reason, "learnt 2 tasks");
}

TEST(PhasesTest, WithoutACountOfVersionsTheOperatorEndsTasks) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}}, {"continual", {{"tasks", 2}}}}));
  host.Begin({"a", "b"});
  for (int i = 1; i < 6; ++i) TrainOnce(host, i);
  EXPECT_EQ(host.progress().task, 0);
  for (const char* client : {"a", "b"}) host.CheckIn(6, client);
  ASSERT_THAT(host.Out(WorkKind::kTrain), SizeIs(2));
  host.Feed(6, event::Command{event::Command::Verb::kNextTask});
  EXPECT_EQ(host.progress().task, 1);
  EXPECT_THAT(host.recalled, SizeIs(2)) << "their work was for the task that has ended";
  TrainOnce(host, 7);
  host.Feed(8, event::Command{event::Command::Verb::kNextTask});
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_EQ(host.progress().reason, "learnt 2 tasks");
}

JobSpec Reported(double share, nlohmann::json more = nlohmann::json::object()) {
  more["stop"] = {{"versions", 1000}};
  more["continual"] = {{"tasks", 3}, {"reported_share", share}};
  return Spec(std::move(more));
}

TEST(PhasesTest, ATaskEndsWhenEnoughOfThosePresentReportALaterOne) {
  ControllerHost host(Reported(0.6));
  host.Begin({"a", "b", "c", "d", "e"});
  host.CheckIn(0, "judge", /*evaluate_only=*/true, /*task=*/9);
  EXPECT_EQ(host.progress().task, 0) << "it has no data to train on";
  const std::vector<WorkOrder> out = host.Out(WorkKind::kTrain);
  ASSERT_THAT(out, SizeIs(2));
  // Those that rest tell of it while they do; those at work when they are back.
  for (const char* client : {"a", "b", "c", "d", "e"}) {
    if (client != out[0].client.value() && client != out[1].client.value()) {
      host.CheckIn(1, client, false, 1);
    }
  }
  EXPECT_EQ(host.progress().task, 1) << "3 of 5, exactly the share";
  EXPECT_THAT(host.recalled, SizeIs(2));
}

TEST(PhasesTest, WhoLeavesOrTakesItBackDoesNotCount) {
  ControllerHost host(Reported(0.5));
  host.Begin({"a", "b", "c", "d", "e"});
  host.CheckIn(1, "d", false, 1);
  host.CheckIn(1, "e", false, 1);
  EXPECT_EQ(host.progress().task, 0) << "2 of 5";
  host.CheckIn(2, "e", false, 0);
  host.Feed(2, event::ClientGone{ClientId("c")});
  EXPECT_EQ(host.progress().task, 0) << "1 of 4";
  host.CheckIn(3, "e", false, 1);
  EXPECT_EQ(host.progress().task, 1) << "2 of 4";
  host.Feed(4, event::ClientGone{ClientId("d")});
  host.CheckIn(4, "e", false, 1);
  EXPECT_EQ(host.progress().task, 1) << "1 is not later than 1";
}

TEST(PhasesTest, WhoReportsAheadEndsTaskAfterTaskAndPastTheLastTheJob) {
  ControllerHost host(Reported(1.0, {{"aggregation", Projects()}}));
  host.Begin({"a", "b"});
  FinishAll(host, 1, WorkKind::kTrain);
  host.Published(1);
  host.CheckIn(2, "a", false, 2);
  EXPECT_EQ(host.progress().phase, JobPhase::kTrain) << "one of two";
  host.CheckIn(2, "b", false, 3);
  EXPECT_EQ(host.progress().phase, JobPhase::kSketch);
  FinishAll(host, 3, WorkKind::kSketch);
  host.Published(3);
  EXPECT_EQ(host.progress().task, 1);
  EXPECT_EQ(host.progress().phase, JobPhase::kSketch) << "nobody has data of task 1 any more";
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  host.CheckIn(4, "a", false, 2);
  host.CheckIn(4, "b", false, 3);
  FinishAll(host, 5, WorkKind::kSketch);
  host.Published(5);
  EXPECT_EQ(host.progress().task, 2);
  host.CheckIn(6, "b", false, 3);
  host.CheckIn(6, "a", false, 2);
  EXPECT_EQ(host.progress().state, JobState::kRunning) << "a has still data of the last task";
  for (const WorkOrder& order : host.Out(WorkKind::kTrain)) {
    host.Feed(7, event::WorkFailed{order.id, LossCause::kAbandoned, ""});
  }
  host.CheckIn(7, "a", false, 3);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_EQ(host.progress().reason, "learnt 3 tasks");
}

TEST(PhasesTest, WithoutAShareReportsEndNothing) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}}, {"continual", {{"tasks", 2}}}}));
  host.Begin({"a", "b"});
  for (const char* client : {"a", "b"}) {
    for (const WorkOrder& order : host.Out(WorkKind::kTrain)) {
      host.Feed(1, event::WorkFailed{order.id, LossCause::kAbandoned, ""});
    }
    host.CheckIn(1, client, false, 1);
  }
  EXPECT_EQ(host.progress().task, 0);
  EXPECT_EQ(host.controller->ReportedTask(ClientId("a")), 1);
  EXPECT_EQ(host.controller->ReportedTask(ClientId("stranger")), 0);
}

TEST(PhasesTest, ATaskEndsWithSketchesExceptTheLast) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}},
                            {"aggregation", Projects()},
                            {"continual", {{"tasks", 2}, {"versions_per_task", 1}}}}));
  host.Begin({"a", "b"});
  TrainOnce(host, 1);
  EXPECT_EQ(host.progress().task, 0) << "until its sketches are learnt";
  for (const char* client : {"a", "b"}) host.CheckIn(2, client);
  EXPECT_THAT(host.Out(WorkKind::kSketch), AllOf(SizeIs(2), Each(Field(&WorkOrder::version, 1)),
                                                 Each(Field(&WorkOrder::task, 0))));
  FinishAll(host, 2, WorkKind::kSketch);
  EXPECT_EQ(host.publications.back().learns, CollectKind::kSketch);
  host.Published(2);
  EXPECT_EQ(host.progress().task, 1);
  EXPECT_EQ(host.progress().version, 2);
  TrainOnce(host, 3);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_THAT(host.Out(WorkKind::kSketch), IsEmpty());
}

nlohmann::json ExploresEvery(int versions) {
  return {{"transforms", {{{"prune_mask", {{"every_versions", versions}}}}}}};
}

void ExploreOnce(ControllerHost& host, double seconds) {
  for (const char* client : {"a", "b"}) host.CheckIn(seconds, client);
  ASSERT_THAT(host.Out(WorkKind::kExplore), SizeIs(2));
  EXPECT_THAT(host.Out(WorkKind::kTrain), IsEmpty());
  FinishAll(host, seconds, WorkKind::kExplore);
  ASSERT_EQ(host.publications.back().learns, CollectKind::kExplore);
  host.Published(seconds);
}

TEST(PhasesTest, ExploresAgainAfterItsVersionsOfTraining) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}}, {"aggregation", ExploresEvery(2)}}));
  host.Begin({"a", "b"});
  for (int round = 0; round < 3; ++round) {
    ExploreOnce(host, 10 * round + 1);
    EXPECT_EQ(host.progress().version, 3 * round + 1);
    TrainOnce(host, 10 * round + 2);
    TrainOnce(host, 10 * round + 3);
  }
  EXPECT_EQ(host.progress().updates, 12);
}

TEST(PhasesTest, ExplorationsAreNoVersionsOfATask) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}},
                            {"aggregation", ExploresEvery(2)},
                            {"continual", {{"tasks", 3}, {"versions_per_task", 3}}}}));
  host.Begin({"a", "b"});
  ExploreOnce(host, 1);
  TrainOnce(host, 2);
  TrainOnce(host, 3);
  ExploreOnce(host, 4);
  EXPECT_EQ(host.progress().task, 0);
  TrainOnce(host, 5);
  EXPECT_EQ(host.progress().task, 1);
  TrainOnce(host, 6);
  ExploreOnce(host, 7);
  EXPECT_EQ(host.progress().task, 1);
}

TEST(PhasesTest, ATaskMayEndWhileClientsExplore) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}},
                            {"aggregation", ExploresEvery(1)},
                            {"continual", {{"tasks", 2}}}}));
  host.Begin({"a", "b"});
  ExploreOnce(host, 1);
  TrainOnce(host, 2);
  ASSERT_THAT(host.Out(WorkKind::kExplore), IsEmpty());
  host.CheckIn(3, "a");
  ASSERT_THAT(host.Out(WorkKind::kExplore), SizeIs(1));
  host.Feed(3, event::Command{event::Command::Verb::kNextTask});
  EXPECT_EQ(host.progress().task, 0) << "what is under way comes first";
  ExploreOnce(host, 4);
  EXPECT_EQ(host.progress().task, 1);
}

TEST(PhasesTest, ThePhaseAndWhatWasCollectedAreTold) {
  nlohmann::json aggregation = Explores();
  aggregation["transforms"].push_back(Projects()["transforms"][0]);
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}},
                            {"aggregation", aggregation},
                            {"continual", {{"tasks", 2}, {"versions_per_task", 1}}}}));
  const auto collected = [&host] {
    return std::pair(host.progress().contributions, host.progress().contributions_asked);
  };
  EXPECT_EQ(host.progress().phase, JobPhase::kInitialise);
  host.Begin({"a", "b"});
  EXPECT_EQ(host.progress().phase, JobPhase::kExplore);
  EXPECT_THAT(collected(), Pair(0, 2));
  host.Finish(0, host.Out(WorkKind::kExplore)[0].id);
  EXPECT_THAT(collected(), Pair(1, 2));
  FinishAll(host, 0, WorkKind::kExplore);
  EXPECT_THAT(collected(), Pair(2, 2)) << "until it is learnt";
  EXPECT_EQ(host.progress().phase, JobPhase::kExplore);
  host.Published(0);
  EXPECT_EQ(host.progress().phase, JobPhase::kTrain);
  TrainOnce(host, 1);
  EXPECT_EQ(host.progress().phase, JobPhase::kSketch);
  EXPECT_EQ(host.progress().task, 0);
  host.Feed(1, event::Command{event::Command::Verb::kPause});
  EXPECT_EQ(host.progress().phase, JobPhase::kSketch);
  host.Feed(1, event::Command{event::Command::Verb::kResume});
  for (const char* client : {"a", "b"}) host.CheckIn(2, client);
  FinishAll(host, 2, WorkKind::kSketch);
  EXPECT_THAT(collected(), Pair(2, 2));
  host.Published(2);
  EXPECT_EQ(host.progress().phase, JobPhase::kTrain);
  EXPECT_EQ(host.progress().task, 1);
}

TEST(PhasesTest, ATaskIsEndingWhileWhatIsUnderWayIsPublished) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}}, {"continual", {{"tasks", 2}}}}));
  host.Begin({"a", "b"});
  host.Feed(1, event::Command{event::Command::Verb::kPause});
  host.Feed(1, event::Command{event::Command::Verb::kNextTask});
  EXPECT_EQ(host.progress().phase, JobPhase::kEndTask);
  host.Feed(2, event::Command{event::Command::Verb::kResume});
  EXPECT_EQ(host.progress().phase, JobPhase::kTrain);
  EXPECT_EQ(host.progress().task, 1);
}

TEST(PhasesTest, AtATasksEndAllTasksSoFarAreEvaluated) {
  ControllerHost host(Spec(
      {{"stop", {{"versions", 1000}}}, {"continual", {{"tasks", 3}, {"versions_per_task", 1}}}}));
  host.Begin({"a", "b"});
  host.CheckIn(0, "judge", true);
  const auto report = [&](std::vector<TaskResult> tasks, double accuracy) {
    const WorkOrder order = host.Out(WorkKind::kEvaluate).at(0);
    EXPECT_EQ(order.tasks, std::max<int64_t>(1, std::ssize(tasks)));
    host.Feed(host.now, event::EvaluationArrived{order.id, 10, 0.5, accuracy, std::move(tasks)});
    host.CheckIn(host.now, "judge", true);
  };
  report({}, 0.1);
  TrainOnce(host, 1);
  report({}, 0.9);
  TrainOnce(host, 2);
  report({{10, 0.5, 0.7}, {10, 0.5, 0.8}}, 0.8);
  TrainOnce(host, 3);
  report({{10, 0.5, 0.6}, {10, 0.5, 0.75}, {10, 0.5, 0.95}}, 0.95);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_THAT(host.progress().task_accuracy,
              ElementsAre(ElementsAre(0.9), ElementsAre(0.7, 0.8), ElementsAre(0.6, 0.75, 0.95)));
}

// The last version of a task may have been evaluated before anybody said that the task ends.
TEST(PhasesTest, AVersionIsEvaluatedAgainInAllTasksWhenItTurnsOutToBeATasksLast) {
  ControllerHost host(Spec({{"stop", {{"versions", 1000}}}, {"continual", {{"tasks", 2}}}}));
  host.Begin({"a", "b"});
  host.CheckIn(0, "judge", true);
  const auto report = [&host](std::vector<TaskResult> tasks, double accuracy) {
    ASSERT_THAT(host.Out(WorkKind::kEvaluate), SizeIs(1));
    const WorkOrder order = host.Out(WorkKind::kEvaluate)[0];
    EXPECT_EQ(order.tasks, std::max<int64_t>(1, std::ssize(tasks)));
    host.Feed(host.now, event::EvaluationArrived{order.id, 10, 0.5, accuracy, std::move(tasks)});
    host.CheckIn(host.now, "judge", true);
  };
  report({}, 0.1);
  TrainOnce(host, 1);
  report({}, 0.9);
  EXPECT_THAT(host.Out(WorkKind::kEvaluate), IsEmpty());
  host.Feed(2, event::Command{event::Command::Verb::kNextTask});
  report({}, 0.9);
  TrainOnce(host, 3);
  report({}, 0.8);
  host.Feed(4, event::Command{event::Command::Verb::kNextTask});
  EXPECT_EQ(host.progress().state, JobState::kRunning) << "until it is evaluated";
  report({{10, 0.5, 0.7}, {10, 0.5, 0.8}}, 0.8);
  EXPECT_EQ(host.progress().state, JobState::kDone);
  EXPECT_THAT(host.progress().task_accuracy, ElementsAre(ElementsAre(0.9), ElementsAre(0.7, 0.8)));
}

TEST(PhasesTest, AnEvaluationOfAllTasksThatWaitsIsNotReplacedByOneOfTheNextTask) {
  ControllerHost host(Spec(
      {{"stop", {{"versions", 1000}}}, {"continual", {{"tasks", 2}, {"versions_per_task", 2}}}}));
  host.Begin({"a", "b"});
  host.CheckIn(0, "judge", true);
  const WorkOrder slow = host.Out(WorkKind::kEvaluate).at(0);
  for (int version = 1; version <= 3; ++version) TrainOnce(host, version);
  EXPECT_EQ(host.progress().task, 1);
  host.Feed(4, event::EvaluationArrived{slow.id, 10, 0.5, 0.1});
  host.CheckIn(4, "judge", true);
  ASSERT_THAT(host.Out(WorkKind::kEvaluate), SizeIs(1));
  EXPECT_EQ(host.Out(WorkKind::kEvaluate)[0].version, 2) << "the first task's last";
  EXPECT_EQ(host.Out(WorkKind::kEvaluate)[0].task, 0);
}

// Whatever the scheduler has under way when a task ends.
class EverySchedulerPhasesTest : public ::testing::TestWithParam<std::string> {};

// Clients report the task of their data by time.
std::set<int64_t> TasksTrained(const std::string& scheduler, nlohmann::json continual,
                               double seconds_per_task) {
  continual["tasks"] = 3;
  ControllerHost host(Spec({{"scheduler", scheduler},
                            {"stop", {{"versions", 100000}}},
                            {"aggregation", Projects()},
                            {"evaluate", {{"every_versions", 1000}}},
                            {"continual", continual}}));
  std::vector<std::string> clients;
  for (int i = 0; i < 25; ++i) clients.push_back("client-" + std::to_string(i));
  host.Begin(clients);
  size_t published = 0;
  std::set<int64_t> tasks;
  for (int step = 1; step < 4000 && !IsEnded(host.progress().state); ++step) {
    const double now = step * 0.5;
    host.Wait(now);
    if (published < host.publications.size()) {
      ++published;
      host.Published(now);
      continue;
    }
    // The oldest order of any kind is answered; then its client is there again.
    for (const WorkOrder& order : std::vector<WorkOrder>(host.sent)) {
      if (host.controller->FindWork(order.id) == nullptr) continue;
      if (order.kind == WorkKind::kTrain) tasks.insert(order.task);
      host.Finish(now, order.id);
      break;
    }
    const auto task = static_cast<int64_t>(now / seconds_per_task);
    for (const std::string& client : clients) host.CheckIn(now, client, false, task);
  }
  EXPECT_EQ(host.progress().state, JobState::kDone) << host.progress().reason;
  EXPECT_EQ(host.progress().reason, "learnt 3 tasks");
  return tasks;
}

TEST_P(EverySchedulerPhasesTest, GoesOnInTheNextTask) {
  EXPECT_THAT(TasksTrained(GetParam(), {{"versions_per_task", 4}}, 1e9), ElementsAre(0, 1, 2));
  EXPECT_THAT(TasksTrained(GetParam(), {{"reported_share", 0.8}}, 400), ElementsAre(0, 1, 2));
}

std::vector<std::string> Schedulers() {
  std::vector<std::string> names;
  for (const auto& entry : SchedulerRegistry().entries()) names.push_back(entry.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Registry, EverySchedulerPhasesTest, ::testing::ValuesIn(Schedulers()),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace tributary
