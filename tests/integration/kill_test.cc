// Real processes, really killed.

#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/client.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/replay.h"
#include "tests/testing/daemon.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::Daemon;
using test::Exit;

constexpr int kVersions = 15;

constexpr char kJob[] = R"(
job:
  name: killed
  model: {custom: fake}
  train: {local_steps: 2}
  scheduler: {sync_round: {clients_per_round: 3}}
  aggregation: {optimizer: {momentum: {learning_rate: 0.5}}}
  keep_updates: true
  stop: {versions: 15}
)";

// Kills the coordinator while it trains on each of these versions, once.
class KillingTrainer final : public FakeTrainer {
 public:
  KillingTrainer(LayoutPtr layout, Daemon* daemon, std::set<Version> kills)
      : FakeTrainer(std::move(layout)), daemon_(daemon), kills_(std::move(kills)) {
    if (kills_.empty()) all_done_.set_value();
  }

  absl::StatusOr<TrainResult> Train(const TrainTask& task, ParamVector& model) override {
    if (kills_.erase(task.base_version) > 0) {
      EXPECT_THAT(daemon_->KillAndRestart(), test::IsOk());
      if (kills_.empty()) all_done_.set_value();
    }
    return FakeTrainer::Train(task, model);
  }

  std::future<void> all_done() { return all_done_.get_future(); }

 private:
  Daemon* const daemon_;
  std::set<Version> kills_;
  std::promise<void> all_done_;
};

// Runs the job with three clients and returns its digest.
std::string RunJob(const std::set<Version>& kills) {
  const LayoutPtr layout = test::FlatLayout(20'000, 3);
  const auto daemon = Daemon::Start().value();
  auto killer = std::make_unique<KillingTrainer>(layout, daemon.get(), kills);
  std::future<void> all_killed = killer->all_done();
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::thread> threads;
  const auto add = [&](const std::string& id, std::unique_ptr<Trainer> trainer) {
    ClientOptions options;
    options.server = daemon->address();
    options.id = ClientId(id);
    options.retry = {.first_delay = absl::Milliseconds(20), .max_delay = absl::Milliseconds(200)};
    auto client = Client::Create(std::move(options), std::move(trainer));
    ASSERT_THAT(client, test::IsOk());
    clients.push_back(*std::move(client));
    threads.emplace_back([c = clients.back().get()] { EXPECT_THAT(c->Run(), test::IsOk()); });
  };
  add("a", std::move(killer));
  add("b", std::make_unique<FakeTrainer>(layout));
  add("c", std::make_unique<FakeTrainer>(layout));

  const test::Completed submitted =
      daemon->Tool({"job", "submit", daemon->dir().Write("job.yaml", kJob)});
  // The first kill may come before the tool has its answer.
  const std::string job = "killed-1";
  EXPECT_TRUE(submitted.exit == Exit{.code = 0} || !kills.empty()) << submitted.err;
  all_killed.wait();
  const test::Completed watched = daemon->Tool({"job", "watch", job});
  EXPECT_EQ(watched.exit, Exit{.code = 0}) << watched.err;

  const auto state = daemon->Show({"job", "show", job});
  EXPECT_EQ(state.value("version", 0), kVersions) << state;
  EXPECT_EQ(state.value("updates", 0), 3 * kVersions) << "each counted exactly once";
  const auto versions = daemon->Show({"model", "list", job});
  for (auto& client : clients) client->Stop();
  for (std::thread& thread : threads) thread.join();
  const std::string digest = versions.at(0).at("model_digest");

  const std::string out = daemon->dir().File("export");
  const test::Completed exported = daemon->Tool({"job", "export", job, "--out", out});
  EXPECT_EQ(exported.exit, Exit{.code = 0}) << exported.err;
  const auto replayed = Replay(out);
  EXPECT_THAT(replayed, test::IsOk());
  if (replayed.ok()) {
    EXPECT_EQ(replayed->versions, kVersions + 1);
    EXPECT_EQ(replayed->model_digest, *Digest::FromHex(digest));
  }
  return digest;
}

TEST(Kill, ACoordinatorKilledInMidJobEndsWithTheSameModel) {
  const std::string undisturbed = RunJob({});
  EXPECT_EQ(undisturbed.size(), 64u);
  EXPECT_EQ(RunJob({1, 4, 7, 11}), undisturbed);
}

}  // namespace
}  // namespace tributary
