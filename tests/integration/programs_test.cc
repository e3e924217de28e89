// A job whose model is a program: it travels from the operator through the coordinator, which may
// restart, to clients that allow it. None of them knows what is in it.
#include <memory>
#include <string>
#include <utility>

#include "client_sdk/mocks/fake_trainer.h"
#include "common/train_spec/train_spec.h"
#include "gtest/gtest.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/params.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::LiveCluster;

// Three chunks and a bit.
std::string Program() {
  std::string program((3 << 20) + 17, '\0');
  for (size_t i = 0; i < program.size(); ++i) program[i] = static_cast<char>(i * i >> 7);
  return program;
}

nlohmann::json Job(const std::string& program, int64_t versions) {
  const ProgramSpec spec = ProgramSpecOf(program);
  return {{"name", "program"},
          {"model", {{"program", {{"sha256", spec.sha256}, {"bytes", spec.bytes}}}}},
          {"train", {{"local_steps", 1}}},
          {"scheduler", {{"sync_round", {{"clients_per_round", 1}}}}},
          {"stop", {{"versions", versions}}}};
}

// Trains only if it is given the very program.
std::unique_ptr<FakeTrainer> Expecting(const std::string& program) {
  const LayoutPtr layout = test::FlatLayout(5);
  auto trainer = std::make_unique<FakeTrainer>(layout);
  trainer->on_train = [program](const TrainTask& task,
                                ParamVector&) -> absl::StatusOr<TrainResult> {
    if (task.job.program == nullptr || *task.job.program != program) {
      return absl::InternalError("not the program");
    }
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  return trainer;
}

int64_t Abandoned(const v1::Job& job) {
  const auto it = job.counters().lost().find("abandoned");
  return it == job.counters().lost().end() ? 0 : it->second;
}

TEST(LivePrograms, ReachClientsThatAllowThem) {
  const test::TempDir dir;
  LiveCluster cluster(dir.path());
  const std::string program = Program();
  const std::string job = cluster.Submit(Job(program, 3), program);
  cluster.AddClient("refuses", Expecting(program));
  // The client that does not allow it gives the work back, and goes on asking for more.
  const v1::Job refused =
      cluster.Await(job, [](const v1::Job& now) { return Abandoned(now) >= 2; });
  EXPECT_EQ(refused.version(), -1);
  EXPECT_EQ(refused.state(), v1::JOB_STATE_INITIALISING);

  ClientOptions options = cluster.Options("runs");
  options.allow_programs = true;
  options.state_dir = dir.File("state");
  cluster.AddClient(std::move(options), Expecting(program));
  cluster.Await(job, [](const v1::Job& now) { return now.version() >= 1; });
  cluster.Restart();
  const v1::Job done = cluster.AwaitEnd(job);
  EXPECT_EQ(done.state(), v1::JOB_STATE_DONE) << done.reason();
  EXPECT_EQ(done.version(), 3);
}

}  // namespace
}  // namespace tributary
