// Jobs whose clients train adapters, in virtual time.
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/params/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "schedulers/scheduler_registry.h"
#include "simulator/experiment.h"
#include "simulator/run_log.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;
using test::SmallWorld;
using test::StatusIs;
using test::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;

const std::vector<std::string> kAdapters = {
    "job.model={builtin: {name: mlp, hidden: [32]}}",
    "job.train={optimizer: {adam: {learning_rate: 0.02}}, batch_size: 16, local_steps: 10}",
    "job.lora={ranks: [8, 4, 2], alpha: 8, targets: ['*']}"};

std::vector<std::string> With(std::vector<std::string> more) {
  std::vector<std::string> set = kAdapters;
  set.insert(set.end(), more.begin(), more.end());
  return set;
}

RunSummary RunAdapters(std::vector<std::string> more, int threads = 1) {
  const TempDir dir;
  auto file = SmallWorld(dir, With(std::move(more)));
  EXPECT_THAT(file, IsOk());
  auto experiment = Experiment::Create(*std::move(file), {.threads = threads});
  EXPECT_THAT(experiment, IsOk());
  EXPECT_THAT((*experiment)->Run(nullptr), IsOk());
  return (*experiment)->Summary();
}

TEST(AdapterJobs, GoWithEveryScheduler) {
  const std::map<std::string, std::string> options = {{"sync_round", "{clients_per_round: 4}"},
                                                      {"deadline", "{clients_per_round: 4}"}};
  for (const auto& entry : SchedulerRegistry().entries()) {
    SCOPED_TRACE(entry.name);
    const auto found = options.find(entry.name);
    const JobProgress run =
        RunAdapters({absl::StrCat("job.scheduler={", entry.name, ": ",
                                  found == options.end() ? "{}" : found->second, "}"),
                     "job.stop={updates: 60}"})
            .progress;
    EXPECT_EQ(run.state, JobState::kDone);
    EXPECT_GT(run.best.accuracy, 0.6);
    EXPECT_TRUE(run.lost.empty());
  }
}

TEST(AdapterJobs, ThreadsChangeNothing) {
  const std::vector<std::string> more = {
      "job.lora.dropout=0.2", "job.codec=[int8]",
      "simulation.speed={exponential: {mean_seconds_per_step: 0.2, jitter: 0.1}}",
      "simulation.availability={dropout: 0.1}", "job.lora.assign=speed"};
  const Digest one = RunAdapters(more).progress.model_digest;
  EXPECT_EQ(RunAdapters(more, 3).progress.model_digest, one);
}

TEST(AdapterJobs, TheBytesAreThoseOfTheRanks) {
  // fc1 [32, 10] and fc2 [4, 32]: 42 + 36 values a rank; 8 clients in turn.
  const RunSummary run =
      RunAdapters({"job.scheduler={sync_round: {clients_per_round: 8}}", "job.stop={versions: 3}"});
  const int64_t ranks = 8 + 4 + 2 + 8 + 4 + 2 + 8 + 4;
  EXPECT_EQ(run.progress.uplink_bytes, 3 * 4 * 78 * ranks);
  EXPECT_EQ(run.uplink_bytes_dense, 3 * 8 * 4 * (32 * 10 + 32 + 4 * 32 + 4));
  // Two versions of the model; values, gradient and two moments of each factor.
  EXPECT_EQ(run.progress.adapter_memory.at(4),
            2 * 4 * (32 * 10 + 32 + 4 * 32 + 4) + 4 * 4 * 78 * 4);
}

// The squared norms that the versions told of: {what waited, what was lost}.
std::pair<double, double> EnergyNotSent(const char* combine) {
  const TempDir dir;
  auto file = SmallWorld(
      dir, With({absl::StrCat("job.aggregation.combine=", combine),
                 "job.scheduler={sync_round: {clients_per_round: 8}}", "job.stop={versions: 3}"}));
  EXPECT_THAT(file, IsOk());
  auto log = RunLog::Create(dir.path(), file->job);
  EXPECT_THAT(log, IsOk());
  auto experiment = Experiment::Create(*std::move(file), {.threads = 1});
  EXPECT_THAT(experiment, IsOk());
  EXPECT_THAT((*experiment)->Run(log->get()), IsOk());
  log->reset();
  std::ifstream events(dir.File("events.jsonl"));
  std::pair<double, double> energy;
  for (std::string line; std::getline(events, line);) {
    const auto event = nlohmann::json::parse(line);
    energy.first += event.value("tail_energy", 0.0);
    energy.second += event.value("dropped_energy", 0.0);
  }
  return energy;
}

TEST(AdapterJobs, VersionsTellWhatRecompressionKeepsBack) {
  const auto [waits, lost] =
      EnergyNotSent("{lora_stacking: {delivery: recompressed, rank: {fixed: {rank: 1}}}}");
  EXPECT_GT(waits, 0);
  EXPECT_LT(lost, 1e-6 * waits) << "the tail has room for all of it";
  const auto [nothing, all] = EnergyNotSent(
      "{lora_stacking: {delivery: recompressed, rank: {fixed: {rank: 1}}, error_feedback: false}}");
  EXPECT_EQ(nothing, 0);
  EXPECT_GT(all, 0);
  EXPECT_EQ(EnergyNotSent("lora_stacking"), std::pair(0.0, 0.0));
}

TEST(AdapterJobs, ProjectedRowsKeepWhatEarlierTasksHaveTaught) {
  const auto learn = [](const char* orthogonal) {
    const RunSummary run = RunAdapters(
        {"job.stop=null", "simulation.data.scenario=permuted", "job.codec=[int8]",
         "job.scheduler={sync_round: {clients_per_round: 8}}",
         absl::StrCat("job.continual={tasks: 3, versions_per_task: 4, orthogonal: ", orthogonal,
                      "}")});
    return FiguresOfTasks(run.progress)->forgetting.value();
  };
  const double plain = learn("null"), projected = learn("{energy: 0.95}");
  EXPECT_GT(plain, 0.3);
  EXPECT_LT(projected, 0.05);
}

// From a model without adapters, and from one that a job of the same kind has left.
TEST(AdapterJobs, StartFromAModelFile) {
  const TempDir dir;
  const std::string path = dir.File("first.safetensors");
  for (const char* rule : {"lora_stacking", "flexlora"}) {
    SCOPED_TRACE(rule);
    const std::string combine = absl::StrCat("job.aggregation.combine=", rule);
    const auto run = [&](std::vector<std::string> set) {
      auto experiment = Experiment::Create(*SmallWorld(dir, std::move(set)), {.threads = 1});
      EXPECT_THAT(experiment, IsOk());
      EXPECT_THAT((*experiment)->Run(nullptr), IsOk());
      EXPECT_THAT(WriteSafetensors(*(*experiment)->Model(), path), IsOk());
      return (*experiment)->metrics();
    };
    run({kAdapters[0], kAdapters[1]});
    const std::string from =
        absl::StrCat("job.model={builtin: {name: mlp, hidden: [32]}, initial: ", path, "}");
    const auto tuned = run(With({combine, from}));
    const auto again = run(With({combine, from}));
    EXPECT_EQ(again.front().accuracy, tuned.back().accuracy) << "where the other ended";
  }
}

TEST(AdapterJobs, TargetsThatCanHaveNoneAreFoundBeforeTheRun) {
  const TempDir dir;
  const auto create = [&](const char* set) {
    auto file = SmallWorld(dir, With({set}));
    EXPECT_THAT(file, IsOk());
    return Experiment::Create(*std::move(file), {.threads = 1}).status();
  };
  EXPECT_THAT(create("job.lora.targets=['*.q_proj']"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("job.lora"), HasSubstr("it has fc1, fc2"))));
  EXPECT_THAT(create("job.lora.fan_in_fan_out=true"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("fc1")));
}

}  // namespace
}  // namespace tributary
