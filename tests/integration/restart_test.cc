// A coordinator that goes away in the middle of a job and comes back on the same data: the
// clients reconnect, and the model is the one of an undisturbed run.

#include <memory>
#include <string>
#include <vector>

#include "client_sdk/mocks/fake_trainer.h"
#include "gtest/gtest.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/params.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::LiveCluster;
using test::TempDir;

constexpr int kVersions = 12;

nlohmann::json Job() {
  return {{"name", "restart"},
          {"model", {{"custom", "fake"}}},
          {"train", {{"local_steps", 2}}},
          {"scheduler", {{"sync_round", {{"clients_per_round", 3}}}}},
          {"aggregation", {{"optimizer", {{"momentum", {{"learning_rate", 0.5}}}}}}},
          {"stop", {{"versions", kVersions}}}};
}

std::string RunJob(int restarts) {
  const TempDir dir;
  LiveCluster cluster(dir.path());
  const std::string job = cluster.Submit(Job());
  for (const char* id : {"a", "b", "c"}) {
    cluster.AddClient(id, std::make_unique<FakeTrainer>(test::FlatLayout(5000, 3)));
  }
  for (int i = 1; i <= restarts; ++i) {
    const int64_t version = i * kVersions / (restarts + 1);
    cluster.Await(job, [version](const v1::Job& j) { return j.version() >= version; });
    cluster.Restart();
  }
  const v1::Job ended = cluster.AwaitEnd(job);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_DONE) << ended.reason();
  EXPECT_EQ(ended.version(), kVersions);
  EXPECT_EQ(ended.updates(), 3 * kVersions) << "each counted once";
  return test::NewestDigest(cluster.Versions(job));
}

TEST(Restart, TheModelIsThatOfAnUndisturbedRun) {
  const std::string undisturbed = RunJob(0);
  EXPECT_EQ(undisturbed.size(), 64u);
  EXPECT_EQ(RunJob(3), undisturbed);
}

}  // namespace
}  // namespace tributary
