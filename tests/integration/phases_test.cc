// Jobs that prune, and that learn one task after another, over gRPC on loopback; the coordinator is
// restarted in the middle of what it collects.
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "client_sdk/mocks/fake_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::LiveCluster;
using test::TempDir;

constexpr int64_t kWeights = 8 * 4;
constexpr int64_t kBiases = 8;
// What an update takes without a codec, and a sketch: of 5 inputs with the bias. Bytes.
constexpr int64_t kUpdate = 4 * (kWeights + kBiases);
constexpr int64_t kSketch = 4 * 5 * 6 / 2;

LayoutPtr OneLayer() {
  return *ParamLayout::Create(
      {{.name = "fc1.weight", .shape = {8, 4}}, {.name = "fc1.bias", .shape = {kBiases}}});
}

nlohmann::json Job(nlohmann::json more) {
  nlohmann::json job = {{"name", "phases"},
                        {"model", {{"custom", "fake"}}},
                        {"train", {{"local_steps", 2}}},
                        {"scheduler", {{"sync_round", {{"clients_per_round", 2}}}}},
                        {"collection", {{"minimum", 3}}}};
  job.merge_patch(more);
  return job;
}

// `asked`: how often whether it can make sketches.
std::unique_ptr<FakeTrainer> Fake(std::atomic<int>& asked) {
  auto trainer = std::make_unique<FakeTrainer>(OneLayer());
  trainer->on_can_sketch = [&asked](const JobInfo&) {
    ++asked;
    return absl::OkStatus();
  };
  // Inputs that span one direction, the same for everybody.
  trainer->on_sketch = [](const CollectTask& task, ParamVector& sketch) -> absl::StatusOr<int64_t> {
    EXPECT_EQ(task.task, 0);
    for (const ParamLayout::Tensor& tensor : sketch.layout()->tensors()) {
      sketch.View(tensor.name)[0] = 1;  // of the Gram matrix: its first entry
    }
    return 10;
  };
  return trainer;
}

struct Outcome {
  v1::Job job;
  std::string digest;
  int asked_for_sketches = 0;
};

// Where `restart_at` is given, the coordinator is restarted when so many bytes have come from two
// clients and a collection waits for the third.
Outcome RunJob(const nlohmann::json& job_json, uint64_t restart_at = 0) {
  const TempDir dir;
  std::atomic<int> asked = 0;
  LiveCluster cluster(dir.path());
  const std::string job = cluster.Submit(job_json);
  cluster.AddClient("a", Fake(asked));
  cluster.AddClient("b", Fake(asked));
  if (restart_at > 0) {
    cluster.Await(
        job, [restart_at](const v1::Job& j) { return j.counters().uplink_bytes() >= restart_at; });
    cluster.Restart();
  }
  cluster.AddClient("c", Fake(asked));
  Outcome outcome{.job = cluster.AwaitEnd(job), .asked_for_sketches = asked};
  EXPECT_EQ(outcome.job.state(), v1::JOB_STATE_DONE) << outcome.job.reason();
  outcome.digest = test::NewestDigest(cluster.Versions(job));
  return outcome;
}

TEST(PhasesTest, WhatIsPrunedDoesNotTravelAndARestartChangesNothing) {
  const nlohmann::json job = Job({{"aggregation", {{"transforms", {"prune_mask"}}}},
                                  {"codec", {"masked"}},
                                  {"stop", {{"versions", 5}}}});
  const Outcome whole = RunJob(job);
  // ⌈0.7 · 32⌉ weights and all biases stay; four versions of two updates, each with a byte for its
  // form.
  constexpr int64_t kKept = 23 + kBiases;
  EXPECT_EQ(whole.job.counters().uplink_bytes(), 3 * kUpdate + 4 * 2 * (4 * kKept + 1));
  EXPECT_EQ(whole.asked_for_sketches, 0);
  EXPECT_EQ(RunJob(job, 2 * kUpdate).digest, whole.digest);
}

TEST(PhasesTest, TasksFollowOneAnotherAndARestartChangesNothing) {
  const nlohmann::json job = Job({{"aggregation", {{"transforms", {"orthogonal_projection"}}}},
                                  {"continual", {{"tasks", 2}, {"versions_per_task", 2}}}});
  const Outcome whole = RunJob(job);
  EXPECT_EQ(whole.job.reason(), "learnt 2 tasks");
  EXPECT_EQ(whole.job.version(), 5) << "two of each task, and one where the first has ended";
  EXPECT_EQ(whole.job.task(), 1);
  EXPECT_EQ(whole.job.phase(), tributary::v1::JOB_PHASE_TRAIN);
  EXPECT_EQ(whole.job.contributions(), 3);
  EXPECT_EQ(whole.job.contributions_asked(), 3);
  EXPECT_EQ(whole.asked_for_sketches, 1 + 4 * 2) << "before the first model and each training";
  EXPECT_EQ(RunJob(job, 4 * kUpdate + 2 * kSketch).digest, whole.digest);
}

}  // namespace
}  // namespace tributary
