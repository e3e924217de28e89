#include "simulator/experiment.h"

#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/params/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/script_program.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::SmallWorld;
using test::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Outcome {
  RunSummary summary;
  std::vector<VersionMetrics> metrics;
  std::string digest;
};

Outcome RunWorld(absl::StatusOr<SimulationFile> file, int threads = 1) {
  EXPECT_TRUE(file.ok()) << file.status();
  auto experiment = Experiment::Create(*std::move(file), {.threads = threads});
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  const absl::Status status = (*experiment)->Run(nullptr);
  EXPECT_TRUE(status.ok()) << status;
  auto model = (*experiment)->Model();
  EXPECT_TRUE(model.ok()) << model.status();
  return {(*experiment)->Summary(), (*experiment)->metrics(), model->ComputeDigest().ToHex()};
}

TEST(Experiment, LearnsAndCounts) {
  const TempDir dir;
  const Outcome run = RunWorld(SmallWorld(dir));
  const JobProgress& p = run.summary.progress;
  EXPECT_EQ(p.state, JobState::kDone);
  EXPECT_EQ(p.version, 6);
  EXPECT_EQ(p.updates, 24);
  EXPECT_EQ(p.client_steps, 24 * 5);
  EXPECT_EQ(p.staleness_max, 0);
  EXPECT_GT(p.evaluation.accuracy, 0.8);
  EXPECT_EQ(p.evaluation.version, 6);
  EXPECT_EQ(p.evaluation.num_examples, 200);
  EXPECT_EQ(p.model_digest.ToHex(), run.digest);
  // logistic regression: 10 · 4 weights and 4 biases, 4 bytes each.
  EXPECT_EQ(p.uplink_bytes, 24 * 44 * 4);
  EXPECT_EQ(run.summary.uplink_bytes_dense, 24 * 44 * 4);
  EXPECT_EQ(run.summary.downlink_bytes, 24 * 44 * 4);
  ASSERT_EQ(run.metrics.size(), 7u);
  for (size_t v = 0; v < run.metrics.size(); ++v) {
    const VersionMetrics& row = run.metrics[v];
    EXPECT_EQ(row.version, static_cast<Version>(v));
    EXPECT_EQ(row.updates, static_cast<int64_t>(4 * v));
    EXPECT_EQ(row.client_steps, static_cast<int64_t>(20 * v));
    EXPECT_TRUE(row.accuracy.has_value());
    // Five steps of half a second; transfers take no time.
    EXPECT_DOUBLE_EQ(row.virtual_seconds, 2.5 * static_cast<double>(v));
  }
}

TEST(Experiment, ClientsThatHoldTheVersionBeforeAreSentItsDelta) {
  const TempDir dir;
  const std::vector<std::string> set = {
      "simulation.clients=4",
      "simulation.network={uplink_mbps: 1000, downlink_mbps: 0.001, latency_ms: 0}"};
  const auto with = [&](const std::string& more) {
    std::vector<std::string> all = set;
    all.push_back(more);
    return RunWorld(SmallWorld(dir, all));
  };
  const Outcome whole = RunWorld(SmallWorld(dir, set));
  const Outcome exact = with("job.downlink={}");
  const Outcome int8 = with("job.downlink={codec: [int8]}");
  EXPECT_EQ(whole.summary.downlink_bytes, 24 * 176);
  EXPECT_EQ(exact.digest, whole.digest);
  EXPECT_LT(exact.summary.downlink_bytes, whole.summary.downlink_bytes);
  // The first time whole; then 44 bytes and a scale each.
  EXPECT_EQ(int8.summary.downlink_bytes, 4 * (176 + 5 * 48));
  EXPECT_NE(int8.digest, whole.digest);
  EXPECT_NEAR(*int8.metrics.back().loss, *whole.metrics.back().loss, 0.01);
  // A byte takes 8 ms, of which 5 versions save 128 each.
  EXPECT_NEAR(whole.summary.virtual_seconds - int8.summary.virtual_seconds, 5 * 128 * 0.008, 1e-3);
}

TEST(Experiment, TheModelDependsOnTheFileAndTheSeedAlone) {
  const TempDir dir;
  // Different speeds: clients finish in another order than they start.
  const std::vector<std::string> set = {
      "simulation.speed={normal: {mean_seconds_per_step: 0.5, relative_stddev: 0.5, jitter: 0.1}}",
      "simulation.network={uplink_mbps: 1, downlink_mbps: 5, latency_ms: 20}", "job.codec=[fp16]"};
  const Outcome once = RunWorld(SmallWorld(dir, set));
  const Outcome again = RunWorld(SmallWorld(dir, set));
  const Outcome two_threads = RunWorld(SmallWorld(dir, set), 2);
  const Outcome five_threads = RunWorld(SmallWorld(dir, set), 5);
  EXPECT_EQ(once.digest, again.digest);
  EXPECT_EQ(once.digest, two_threads.digest);
  EXPECT_EQ(once.digest, five_threads.digest);
  EXPECT_EQ(once.summary.virtual_seconds, five_threads.summary.virtual_seconds);
  EXPECT_NE(once.digest, RunWorld(SmallWorld(dir, set, /*seed=*/4)).digest);
}

TEST(Experiment, WithEveryKindOfHeterogeneityTheThreadsStillChangeNothing) {
  const TempDir dir;
  const std::vector<std::string> set = {
      "job.scheduler={sync_round: {clients_per_round: 5, min_reports: 1, min_available: 1, "
      "deadline_seconds: 30, on_loss: close}}",
      "job.stop.versions=40",
      "job.liveness_seconds=15",
      "simulation.speed={exponential: {mean_seconds_per_step: 0.5, jitter: 0.1}}",
      "simulation.speed_changes=[{at_seconds: 20, share: 0.5, factor: 2}]",
      "simulation.network={uplink_mbps: 0.001, downlink_mbps: 0.002, spread: 0.5}",
      "simulation.availability={dropout: 0.1, online: {markov: {mean_online_seconds: 20, "
      "mean_offline_seconds: 5}}, vanishing: {share: 0.25, by_seconds: 60}, "
      "late_joiners: {share: 0.25, by_seconds: 30}}"};
  const Outcome once = RunWorld(SmallWorld(dir, set));
  EXPECT_GT(once.summary.progress.lost.at("abandoned"), 0);
  EXPECT_GT(once.summary.progress.lost.at("timed_out"), 0);
  for (const int threads : {2, 5}) {
    const Outcome again = RunWorld(SmallWorld(dir, set), threads);
    EXPECT_EQ(once.digest, again.digest);
    EXPECT_EQ(once.summary.virtual_seconds, again.summary.virtual_seconds);
    EXPECT_EQ(once.summary.progress.lost, again.summary.progress.lost);
    EXPECT_EQ(once.summary.utilisation, again.summary.utilisation);
  }
  EXPECT_NE(once.digest, RunWorld(SmallWorld(dir, set, /*seed=*/4)).digest);
}

TEST(Experiment, TransfersTakeTheirTime) {
  const TempDir dir;
  const Outcome run = RunWorld(SmallWorld(
      dir, {"simulation.network={uplink_mbps: 0.001, downlink_mbps: 0.002, latency_ms: 100}",
            "job.stop.versions=1"}));
  // 176 bytes: 0.704 s down, 1.408 s up, each with 0.1 s of latency, and 2.5 s of training.
  EXPECT_NEAR(run.metrics.at(1).virtual_seconds - run.metrics.at(0).virtual_seconds,
              0.804 + 2.5 + 1.508, 1e-6);
}

TEST(Experiment, Fp16HalvesTheUplink) {
  const TempDir dir;
  const Outcome run = RunWorld(SmallWorld(dir, {"job.codec=[fp16]"}));
  EXPECT_EQ(run.summary.progress.uplink_bytes, 24 * 44 * 2);
  EXPECT_EQ(run.summary.uplink_bytes_dense, 24 * 44 * 4);
  EXPECT_GT(run.summary.progress.evaluation.accuracy, 0.8);
}

TEST(Experiment, LocalEpochsFollowTheClientsData) {
  const TempDir dir;
  auto file =
      SmallWorld(dir, {"job.train={local_epochs: 2, batch_size: 16}",
                       "job.scheduler.sync_round.clients_per_round=8", "job.stop.versions=1"});
  const Outcome run = RunWorld(std::move(file));
  // Two passes over 800 examples in batches of 16: at least 100 steps, and one more for each
  // client and pass whose last batch is not full.
  EXPECT_GE(run.summary.progress.client_steps, 100);
  EXPECT_LE(run.summary.progress.client_steps, 100 + 2 * 8);
}

TEST(Experiment, TargetsAreReportedOnceReached) {
  const TempDir dir;
  const Outcome run = RunWorld(SmallWorld(
      dir, {"simulation.targets=[0.5, 1.0]", "job.stop={versions: 20, target_accuracy: 0.75}"}));
  const nlohmann::json summary = SummaryJson(run.summary, run.metrics);
  ASSERT_EQ(summary["targets"].size(), 2u);
  const auto& first = summary["targets"][0];
  ASSERT_FALSE(first["version"].is_null());
  const VersionMetrics& row = run.metrics.at(first["version"].get<size_t>());
  EXPECT_GE(*row.accuracy, 0.5);
  EXPECT_EQ(first["virtual_seconds"], row.virtual_seconds);
  EXPECT_TRUE(summary["targets"][1]["version"].is_null());
  EXPECT_GE(run.summary.progress.evaluation.accuracy, 0.75);
  EXPECT_LT(run.summary.progress.version, 20) << "it stopped at its target";
}

TEST(Experiment, CountsTheOperationsOfTraining) {
  const TempDir dir;
  // 100 examples a client: six batches of 16 and one of 4.
  const Outcome run = RunWorld(SmallWorld(
      dir, {"simulation.data.partition=iid", "job.train={batch_size: 16, local_steps: 9}"}));
  const int64_t examples = 24 * (100 + 2 * 16);
  EXPECT_EQ(run.summary.train_flops, examples * 6 * 10 * 4);
  EXPECT_EQ(run.summary.train_flops_dense, run.summary.train_flops);
  const nlohmann::json json = SummaryJson(run.summary, run.metrics);
  EXPECT_EQ(json["train_flops"], run.summary.train_flops);
  EXPECT_EQ(json["train_flops_dense"], run.summary.train_flops);
}

TEST(Experiment, RefusesAModelFileOfAnotherModel) {
  const TempDir dir;
  const std::string path = absl::StrCat(dir.path(), "/other.safetensors");
  const ParamVector other(*ParamLayout::Create({{.name = "fc1.weight", .shape = {4, 9}}}));
  ASSERT_TRUE(WriteSafetensors(other, path).ok());
  auto file = SmallWorld(dir, {absl::StrCat("job.model.initial=", path)});
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status status = Experiment::Create(*std::move(file), {.threads = 1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("job.model.initial: "), HasSubstr(path), HasSubstr("'fc1.weight'")));
}

TEST(Experiment, AnInterruptionEndsALongTrainingToo) {
  const TempDir dir;
  auto file = SmallWorld(dir, {"job.train.local_steps=1000000000"});
  ASSERT_TRUE(file.ok());
  std::stop_source stop;
  ExperimentOptions options{.threads = 1, .stop = stop.get_token()};
  // The round has been sent out once the first model has been evaluated.
  options.on_progress = [&stop](const JobProgress& p, absl::Duration) {
    if (p.evaluation.version == 0) stop.request_stop();
  };
  auto experiment = Experiment::Create(*std::move(file), std::move(options));
  ASSERT_TRUE(experiment.ok());
  EXPECT_EQ((*experiment)->Run(nullptr).code(), absl::StatusCode::kCancelled);
}

TEST(Experiment, StartsFromAModelFile) {
  const TempDir dir;
  const Outcome first = RunWorld(SmallWorld(dir));
  auto file = SmallWorld(dir);
  ASSERT_TRUE(file.ok());
  auto experiment = Experiment::Create(*file, {.threads = 1});
  ASSERT_TRUE(experiment.ok());
  ASSERT_TRUE((*experiment)->Run(nullptr).ok());
  auto model = (*experiment)->Model();
  ASSERT_TRUE(model.ok());
  const std::string path = absl::StrCat(dir.path(), "/start.safetensors");
  ASSERT_TRUE(WriteSafetensors(*model, path).ok());
  const Outcome second = RunWorld(SmallWorld(dir, {absl::StrCat("job.model.initial=", path)}));
  EXPECT_EQ(*second.metrics.at(0).accuracy, *first.metrics.back().accuracy);
  EXPECT_NE(second.digest, first.digest);
}

// Dropout, which draws, and a batch norm, whose statistics are averaged.
TEST(Experiment, TrainsAProgramWhateverTheThreads) {
  const TempDir dir;
  using Kind = test::ScriptTensor::Kind;
  const std::string program = test::MakeProgram({{"fc1.weight", {16, 10}},
                                                 {"bn.weight", {16}},
                                                 {"bn.bias", {16}},
                                                 {"bn.running_mean", {16}, Kind::kBuffer},
                                                 {"bn.running_var", {16}, Kind::kBuffer},
                                                 {"fc2.weight", {4, 16}},
                                                 {"fc2.bias", {4}}},
                                                R"(
def forward(self, x):
    x = torch.linear(x, self.fc1.weight)
    x = torch.batch_norm(x, self.bn.weight, self.bn.bias, self.bn.running_mean, self.bn.running_var,
                         self.training, 0.1, 0.00001, False)
    x = torch.dropout(torch.relu(x), 0.2, self.training)
    return torch.linear(x, self.fc2.weight, self.fc2.bias)
)");
  const std::string path = dir.Write("model.pt", program);
  const std::vector<std::string> set = {absl::StrCat("job.model={torchscript: ", path, "}"),
                                        "simulation.speed={exponential: {jitter: 0.3}}",
                                        "simulation.data.partition=iid",
                                        "job.train.local_steps=20"};
  const Outcome one = RunWorld(SmallWorld(dir, set), /*threads=*/1);
  const Outcome three = RunWorld(SmallWorld(dir, set), /*threads=*/3);
  EXPECT_EQ(one.digest, three.digest);
  EXPECT_GT(one.summary.progress.evaluation.accuracy, 0.8);
  EXPECT_EQ(one.summary.train_flops, 0) << "not known";
  // 260 parameters and 32 statistics.
  EXPECT_EQ(one.summary.uplink_bytes_dense, 24 * 4 * (260 + 32));
}

TEST(Experiment, ADivergingJobIsToldAndEnds) {
  const TempDir dir;
  auto file = SmallWorld(
      dir, {"job.train.optimizer={sgd: {learning_rate: 3.0e38}}", "job.train.local_steps=50"});
  ASSERT_TRUE(file.ok()) << file.status();
  auto experiment = Experiment::Create(*std::move(file), {.threads = 1});
  ASSERT_TRUE(experiment.ok()) << experiment.status();
  const absl::Status status = (*experiment)->Run(nullptr);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("in a row was usable"));
}

TEST(Experiment, StopsWhenAsked) {
  const TempDir dir;
  auto file = SmallWorld(dir, {"job.stop.versions=100000"});
  ASSERT_TRUE(file.ok());
  std::stop_source stop;
  ExperimentOptions options{.threads = 1, .stop = stop.get_token()};
  options.on_progress = [&stop](const JobProgress& p, absl::Duration) {
    if (p.version >= 2) stop.request_stop();
  };
  auto experiment = Experiment::Create(*std::move(file), std::move(options));
  ASSERT_TRUE(experiment.ok());
  EXPECT_EQ((*experiment)->Run(nullptr).code(), absl::StatusCode::kCancelled);
  EXPECT_LE((*experiment)->metrics().size(), 4u);
}

TEST(RunLogTest, LeavesTheFilesThatOthersRelyOn) {
  const TempDir dir;
  auto file = SmallWorld(dir);
  ASSERT_TRUE(file.ok());
  const JobSpec job = file->job;
  auto experiment = Experiment::Create(*std::move(file), {.threads = 2});
  ASSERT_TRUE(experiment.ok());
  const std::string out = absl::StrCat(dir.path(), "/new/folder");
  auto log = RunLog::Create(out, job);
  ASSERT_TRUE(log.ok()) << log.status();
  ASSERT_TRUE((*experiment)->Run(log->get()).ok());
  auto model = (*experiment)->Model();
  ASSERT_TRUE(model.ok());
  const RunSummary summary = (*experiment)->Summary();
  ASSERT_TRUE((*log)->Finish(summary, (*experiment)->metrics(), *model).ok());

  std::ifstream summary_file(out + "/summary.json");
  const nlohmann::json json = nlohmann::json::parse(summary_file);
  for (const char* key : {"name",
                          "seed",
                          "config_digest",
                          "model_digest",
                          "versions",
                          "updates",
                          "client_steps",
                          "virtual_seconds",
                          "wall_seconds",
                          "peak_rss_bytes",
                          "uplink_bytes",
                          "downlink_bytes",
                          "uplink_bytes_dense",
                          "train_flops",
                          "train_flops_dense",
                          "final",
                          "best",
                          "targets",
                          "staleness",
                          "clients",
                          "scheduler"}) {
    EXPECT_TRUE(json.contains(key)) << key;
  }
  // Four of eight clients work, all the time.
  EXPECT_DOUBLE_EQ(json["clients"]["utilisation"], 0.5);
  const nlohmann::json fleet = nlohmann::json::parse(test::ReadFile(out + "/fleet.json"));
  ASSERT_EQ(fleet["clients"].size(), 8u);
  int64_t examples = 0;
  for (const auto& client : fleet["clients"]) examples += client["examples"].get<int64_t>();
  EXPECT_EQ(examples, 800);
  const auto read = ReadSafetensors(out + "/model.safetensors");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ComputeDigest().ToHex(), json["model_digest"]);

  std::ifstream csv(out + "/metrics.csv");
  std::string line;
  ASSERT_TRUE(std::getline(csv, line));
  EXPECT_EQ(line,
            "version,virtual_seconds,updates,loss,accuracy,uplink_bytes,downlink_bytes,client_"
            "steps,server_rate,"
            "mean_staleness,client_rate,phase,task");
  int rows = 0;
  while (std::getline(csv, line)) {
    const std::vector<std::string> fields = absl::StrSplit(line, ',');
    EXPECT_EQ(fields.size(), 13u) << line;
    ++rows;
  }
  EXPECT_EQ(rows, 7);
}

TEST(RunLogTest, SaysWhereItCannotWrite) {
  const TempDir dir;
  auto file = SmallWorld(dir);
  ASSERT_TRUE(file.ok());
  const auto log = RunLog::Create("/proc/nowhere", file->job);
  EXPECT_EQ(log.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(log.status().message()), HasSubstr("/proc/nowhere"));
}

}  // namespace
}  // namespace tributary
