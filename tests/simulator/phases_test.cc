// Jobs that prune after an exploration and that go from task to task, with real training.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/experiment.h"
#include "simulator/replay.h"
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
using ::testing::SizeIs;

using Settings = std::vector<std::string>;

struct Outcome {
  RunSummary summary;
  ParamVector model;
  std::string digest;
};

Outcome RunWorld(const TempDir& dir, Settings set, int threads = 1, bool logged = false) {
  auto file = SmallWorld(dir, std::move(set));
  EXPECT_TRUE(file.ok()) << file.status();
  const JobSpec job = file->job;
  auto experiment = Experiment::Create(*std::move(file), {.threads = threads});
  EXPECT_TRUE(experiment.ok()) << experiment.status();
  std::unique_ptr<RunLog> log;
  if (logged) log = *RunLog::Create(dir.path(), job);
  const absl::Status status = (*experiment)->Run(log.get());
  EXPECT_TRUE(status.ok()) << status;
  auto model = (*experiment)->Model();
  EXPECT_TRUE(model.ok()) << model.status();
  std::string digest = model->ComputeDigest().ToHex();
  return {(*experiment)->Summary(), *std::move(model), std::move(digest)};
}

const Settings kMlp = {"job.model={builtin: {name: mlp, hidden: [16]}}"};

Settings With(Settings set, const Settings& more) {
  set.insert(set.end(), more.begin(), more.end());
  return set;
}

Settings Pruned() {
  return With(kMlp,
              {"job.aggregation.transforms=[{prune_mask: {quantile: 0.5}}]", "job.codec=[masked]"});
}

// 5 directions of 10 tell the classes of a task apart.
Settings Tasks(const std::string& transforms) {
  return With(kMlp, {"job.aggregation.transforms=" + transforms,
                     "job.continual={tasks: 3, versions_per_task: 12}", "job.stop={versions: 100}",
                     "job.train.local_steps=20", "simulation.data.scenario={permuted: {}}"});
}

TEST(PhasesTest, WhatIsPrunedStaysZeroAndDoesNotTravel) {
  const TempDir dir;
  const Outcome dense = RunWorld(dir, kMlp);
  const Outcome pruned = RunWorld(dir, With(Pruned(), {"job.stop.versions=7"}));
  // 10·16 + 16·4 weights, half of them pruned; 20 biases are exempt.
  int64_t zeros = 0;
  for (const float value : pruned.model.trainable()) zeros += value == 0 ? 1 : 0;
  EXPECT_EQ(zeros, 112);
  // Six versions of four updates each in both, with a byte for the form where there is a choice;
  // and eight clients' explorations of 244 values.
  EXPECT_EQ(dense.summary.progress.uplink_bytes, 24 * 244 * 4);
  EXPECT_EQ(pruned.summary.progress.uplink_bytes, 24 * (132 * 4 + 1) + 8 * 244 * 4);
  EXPECT_GT(pruned.summary.progress.evaluation.accuracy, 0.7);
}

TEST(PhasesTest, ResultsDoNotDependOnThreads) {
  const TempDir dir;
  for (const Settings& set : {Pruned(), Tasks("[orthogonal_projection]")}) {
    EXPECT_EQ(RunWorld(dir, set, 1).digest, RunWorld(dir, set, 3).digest);
  }
}

TEST(PhasesTest, ReplayMakesTheSameModelsFromWhatWasKept) {
  for (const Settings& set : {Pruned(), Tasks("[orthogonal_projection]")}) {
    const TempDir dir;
    const Outcome run = RunWorld(dir, With(set, {"job.keep_updates=true"}), 1, /*logged=*/true);
    TRIB_ASSERT_OK_AND_ASSIGN(const ReplayResult replayed, Replay(dir.path()));
    ASSERT_TRUE(replayed.model_digest.has_value());
    EXPECT_EQ(replayed.model_digest->ToHex(), run.digest);
    EXPECT_EQ(replayed.versions, run.summary.progress.version + 1) << "the first model, too";
  }
}

double Forgetting(const std::vector<std::vector<double>>& accuracy) {
  double lost = 0;
  for (size_t j = 0; j + 1 < accuracy.size(); ++j) lost += accuracy[j][j] - accuracy.back()[j];
  return lost / static_cast<double>(accuracy.size() - 1);
}

TEST(PhasesTest, OrthogonalUpdatesForgetLess) {
  const TempDir dir;
  const auto plain = RunWorld(dir, Tasks("[]")).summary.progress.task_accuracy;
  const auto kept =
      RunWorld(dir, Tasks("[{orthogonal_projection: {energy: 0.9}}]")).summary.progress;
  ASSERT_THAT(plain, SizeIs(3));
  ASSERT_THAT(kept.task_accuracy, SizeIs(3));
  for (size_t t = 0; t < 3; ++t) ASSERT_THAT(kept.task_accuracy[t], SizeIs(t + 1));
  EXPECT_EQ(kept.version, 3 * 12 + 2) << "two tasks' ends make a version each";
  EXPECT_GT(Forgetting(plain), 0.05);
  EXPECT_LT(Forgetting(kept.task_accuracy), Forgetting(plain) / 2);
}

TEST(PhasesTest, AProgramThatShowsItsLayersInputsForgetsLessToo) {
  const TempDir dir;
  const std::string path = dir.Write("model.pt", test::MlpProgram(10, 32, 4));
  const auto forgetting = [&](const char* transforms) {
    const Settings set =
        With(Tasks(transforms), {absl::StrCat("job.model={torchscript: ", path, "}")});
    return Forgetting(RunWorld(dir, set).summary.progress.task_accuracy);
  };
  const double plain = forgetting("[]");
  EXPECT_GT(plain, 0.05);
  EXPECT_LT(forgetting("[{orthogonal_projection: {energy: 0.9}}]"), plain / 2);
}

TEST(PhasesTest, AProgramThatDoesNotIsRefusedBeforeTheRun) {
  const TempDir dir;
  const std::string path = dir.Write(
      "model.pt",
      test::MakeProgram({{"weight", {4, 10}}},
                        "def forward(self, x):\n  return torch.linear(x, self.weight)\n"));
  auto file = SmallWorld(dir, With(Tasks("[orthogonal_projection]"),
                                   {absl::StrCat("job.model={torchscript: ", path, "}")}));
  ASSERT_THAT(file, test::IsOk());
  EXPECT_THAT(Experiment::Create(*std::move(file), {.threads = 1}).status(),
              test::StatusIs(absl::StatusCode::kInvalidArgument,
                             AllOf(HasSubstr("job.model.torchscript: "),
                                   HasSubstr("does not show what its layers are given"))));
}

TEST(PhasesTest, SplitClassesHaveHeadsOfTheirOwn) {
  const TempDir dir;
  const Settings set =
      With(kMlp, {"job.continual={tasks: 2, versions_per_task: 4}", "job.stop={versions: 100}",
                  "simulation.data.scenario={split_classes: {classes_per_task: 2}}"});
  const auto accuracy = RunWorld(dir, set).summary.progress.task_accuracy;
  ASSERT_THAT(accuracy, SizeIs(2));
  EXPECT_GT(accuracy[0][0], 0.8);
  EXPECT_GT(accuracy[1][1], 0.8);
}

// Three tasks that end by what clients report: by `moves`, when their data are of the next one.
Settings Reported(const std::string& moves) {
  return With(Tasks("[orthogonal_projection]"),
              {"job.continual={tasks: 3, reported_share: 0.75}", "simulation.data_moves=" + moves});
}

// A round takes 10 s.
TEST(PhasesTest, ClientsWhoseDataMoveOnEndTasks) {
  const TempDir dir;
  const Outcome by_time = RunWorld(dir, Reported("{every_seconds: 45}"));
  const JobProgress& progress = by_time.summary.progress;
  EXPECT_EQ(progress.reason, "learnt 3 tasks");
  EXPECT_EQ(progress.version, 3 * 4 + 2) << "four rounds in 45 s, and two tasks' ends";
  EXPECT_EQ(by_time.summary.virtual_seconds, 140.0)
      << "at 135 s half of them tell it, and the others when their work is done";
  ASSERT_THAT(progress.task_accuracy, SizeIs(3));
  EXPECT_THAT(progress.task_accuracy[2], SizeIs(3));

  const Outcome by_work = RunWorld(dir, Reported("{every_training_orders: 3}"));
  EXPECT_EQ(by_work.summary.progress.reason, "learnt 3 tasks");
  EXPECT_GE(by_work.summary.progress.updates, 3 * 6 * 3) << "6 of 8 clients, 3 orders each a task";
  ASSERT_THAT(by_work.summary.progress.task_accuracy, SizeIs(3));
  EXPECT_THAT(by_work.summary.progress.task_accuracy[1], SizeIs(2));
}

TEST(PhasesTest, ReportedTasksReplayAndDoNotDependOnThreads) {
  const TempDir dir;
  const Settings set = With(Reported("{every_training_orders: 2}"), {"job.keep_updates=true"});
  const Outcome run = RunWorld(dir, set, 1, /*logged=*/true);
  EXPECT_EQ(RunWorld(dir, set, 3).digest, run.digest);
  TRIB_ASSERT_OK_AND_ASSIGN(const ReplayResult replayed, Replay(dir.path()));
  ASSERT_TRUE(replayed.model_digest.has_value());
  EXPECT_EQ(replayed.model_digest->ToHex(), run.digest);
}

TEST(PhasesTest, DataThatMoveNeedAJobThatListens) {
  const TempDir dir;
  using ::testing::AllOf;
  using ::testing::HasSubstr;
  EXPECT_THAT(SmallWorld(dir, {"simulation.data_moves={every_seconds: 5}"}).status(),
              test::StatusIs(absl::StatusCode::kInvalidArgument,
                             AllOf(HasSubstr("simulation.data_moves"),
                                   HasSubstr("job.continual.reported_share"))));
  for (const std::string moves : {"{}", "{every_seconds: 5, every_training_orders: 2}"}) {
    EXPECT_THAT(SmallWorld(dir, {"job.continual={tasks: 2, reported_share: 1}",
                                 "simulation.data_moves=" + moves})
                    .status(),
                test::StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("one of the two")))
        << moves;
  }
}

TEST(PhasesTest, MoreTasksThanTheDataHoldAreRefusedWithTheirPlace) {
  const TempDir dir;
  auto file = SmallWorld(dir, {"job.continual={tasks: 3, versions_per_task: 4}",
                               "simulation.data.scenario={split_classes: {classes_per_task: 2}}"});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_THAT(Experiment::Create(*std::move(file), {.threads = 1}).status(),
              test::StatusIs(absl::StatusCode::kInvalidArgument,
                             ::testing::AllOf(::testing::HasSubstr("simulation.data.scenario"),
                                              ::testing::HasSubstr("make 2 tasks"))));
}

}  // namespace
}  // namespace tributary
