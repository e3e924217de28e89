#include "server/coordinator/run_record.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/coordinator/run_summary.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

const absl::Time kStart = absl::FromUnixSeconds(1000);

JobEvent Available(const char* client) {
  return {kStart, event::ClientAvailable{.client = ClientId(client)}};
}
const std::vector<JobAction> kWake = {action::WakeAt{kStart + absl::Seconds(5)}};

TEST(RunDigestTest, EqualRunsHaveEqualDigests) {
  RunDigest a, b;
  std::string last;
  for (const char* client : {"x", "y", "x"}) {
    const std::string digest = a.Add(Available(client), kWake);
    EXPECT_THAT(digest, MatchesRegex("[0-9a-f]{16}"));
    EXPECT_EQ(digest, b.Add(Available(client), kWake));
    EXPECT_NE(digest, last);
    last = digest;
  }
}

TEST(RunDigestTest, AnotherEventDecisionOrHistoryIsAnotherDigest) {
  const std::string digest = RunDigest().Add(Available("x"), kWake);
  EXPECT_NE(digest, RunDigest().Add(Available("y"), kWake));
  EXPECT_NE(digest, RunDigest().Add(Available("x"), {}));
  EXPECT_NE(digest, RunDigest().Add(Available("x"), {action::WakeAt{kStart + absl::Seconds(6)}}));
  RunDigest later;
  later.Add(Available("x"), {});
  EXPECT_NE(digest, later.Add(Available("x"), kWake));
}

TEST(RunDigestTest, ItIsTheSameAfterAWayThroughTheJournal) {
  const JobEvent failed = {
      kStart, event::WorkFailed{.work_order = 3, .message = "bytes \xff that are no text"}};
  const auto read = JobEventFromJson(nlohmann::json::parse(ToLine(ToJson(failed))));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(RunDigest().Add(failed, {}), RunDigest().Add(*read, {}));
}

TEST(RunRecordTest, AnUpdateKeepsItsChecksum) {
  event::UpdateArrived update{.info = {.work_order = 7}, .bytes = 12};
  EXPECT_FALSE(ToJson(JobEvent{kStart, update}).contains("xxh128"));
  update.checksum = Xxh128{.low = 1, .high = uint64_t{0xab} << 56};
  const nlohmann::json json = ToJson(JobEvent{kStart, update});
  EXPECT_EQ(json.at("xxh128"), "ab000000000000000000000000000001");
  EXPECT_EQ(std::get<event::UpdateArrived>(JobEventFromJson(json)->what).checksum, update.checksum);
  for (const char* bad : {"", "ab", "zz000000000000000000000000000001"}) {
    nlohmann::json damaged = json;
    damaged["xxh128"] = bad;
    EXPECT_EQ(JobEventFromJson(damaged).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(RunRecordTest, TheFirstLineSaysWhatAReplayNeeds) {
  const auto spec = ParseJobSpecJson(
      R"({"name": "n", "model": {"custom": "m", "initial": "first.safetensors"},
          "train": {"local_steps": 1}, "scheduler": {"sync_round": {"clients_per_round": 1}},
          "stop": {"versions": 1}})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const nlohmann::json line = FirstLine(*spec, kStart);
  EXPECT_EQ(line.at("initial_model"), true);
  EXPECT_EQ(line.at("started_at"), absl::ToUnixNanos(kStart));
  EXPECT_EQ(CanonicalJson(*ParseJobSpecJson(line.at("job").dump())), CanonicalJson(*spec));
}

TEST(MetricsCsvTest, WhatIsNotKnownIsEmpty) {
  EXPECT_EQ(MetricsCsv({{.version = 1, .virtual_seconds = 2.5, .downlink_bytes = 8}, {}}),
            "version,virtual_seconds,updates,loss,accuracy,uplink_bytes,downlink_bytes,"
            "client_steps,server_rate,mean_staleness,client_rate,phase,task\n"
            "1,2.5,0,,,0,8,0,1.0,0.0,1.0,initialise,0\n"
            "0,0.0,0,,,0,,0,1.0,0.0,1.0,initialise,0\n");
}

TEST(MetricsCsvTest, ARowIsOfThePhaseAndTheTaskThatMadeTheVersion) {
  JobProgress progress;
  progress.phase = JobPhase::kEndTask;
  progress.task = 1;
  VersionMetrics row =
      VersionMetrics::Of({.version = 3, .server_rate = 0.5, .client_rate = 2.0}, 9, progress);
  progress.task = 2;
  progress.updates = 7;
  row.AddCounts(progress);
  row.AddEvaluation({.version = 3, .num_examples = 10, .loss = 1, .accuracy = 0.25});
  const std::string alone = MetricsCsv({row});
  EXPECT_THAT(alone, EndsWith("3,9.0,7,1.0,0.25,0,,0,0.5,0.0,2.0,end_task,1\n"))
      << "one task needs no column";
  row.AddEvaluation({.version = 3,
                     .num_examples = 20,
                     .loss = 1,
                     .accuracy = 0.5,
                     .tasks = {{10, 1, 0.75}, {10, 1, 0.5}}});
  const std::string both = MetricsCsv({{}, row});
  EXPECT_THAT(both, HasSubstr(",phase,task,accuracy_task_0,accuracy_task_1\n"));
  EXPECT_THAT(both, HasSubstr(",initialise,0,,\n"));
  EXPECT_THAT(both, EndsWith(",end_task,1,0.75,0.5\n"));
}

TEST(TaskFiguresTest, ForgettingIsWhatWasLostSinceEachTaskWasLearnt) {
  JobProgress progress;
  EXPECT_FALSE(FiguresOfTasks(progress).has_value()) << "nothing was evaluated";
  progress.task_accuracy = {{0.9}};
  EXPECT_EQ(FiguresOfTasks(progress)->average_accuracy, 0.9);
  EXPECT_FALSE(FiguresOfTasks(progress)->forgetting.has_value());
  progress.task_accuracy = {{0.9}, {0.5, 0.8}, {0.6, 0.9, 0.6}};
  EXPECT_THAT(FiguresOfTasks(progress)->accuracy, ElementsAre(0.6, 0.9, 0.6));
  EXPECT_NEAR(FiguresOfTasks(progress)->average_accuracy, 0.7, 1e-12);
  EXPECT_NEAR(*FiguresOfTasks(progress)->forgetting, (0.3 - 0.1) / 2, 1e-12);
  progress.task_accuracy = {{0.9}, {}, {0.6, 0.9, 0.6}};
  EXPECT_FALSE(FiguresOfTasks(progress).has_value()) << "what was lost is not known";
}

TEST(SummaryTest, TasksAndPhaseAreTold) {
  JobProgress progress;
  progress.phase = JobPhase::kSketch;
  progress.task_accuracy = {{0.9}};
  nlohmann::json summary = SummaryJson({.progress = progress, .targets = {}}, {});
  EXPECT_EQ(summary.at("phase"), "sketch");
  EXPECT_EQ(summary.at("task"), 0);
  EXPECT_FALSE(summary.contains("tasks")) << "its first task";
  progress.task = 1;
  progress.task_accuracy = {{0.9}, {0.5, 0.75}};
  summary = SummaryJson({.progress = progress, .targets = {}}, {});
  EXPECT_EQ(summary.at("tasks"), nlohmann::json({{"accuracy", progress.task_accuracy},
                                                 {"average_accuracy", 0.625},
                                                 {"forgetting", 0.4}}));
  EXPECT_EQ(summary.at("final"), nlohmann::json({{"loss", nullptr},
                                                 {"accuracy", nullptr},
                                                 {"task_accuracy", {0.5, 0.75}},
                                                 {"average_accuracy", 0.625},
                                                 {"forgetting", 0.4}}));
}

}  // namespace
}  // namespace tributary
