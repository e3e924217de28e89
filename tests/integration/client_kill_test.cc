// A client process that is really killed in mid-upload and started again: its update is counted
// once, without new training, and what the codec left out of it comes with the next one.

#include <csignal>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/client.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::Exit;
using test::IsOkAndHolds;
using test::LiveCluster;
using test::Subprocess;
using test::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr char kAsClient[] = "--as-client";
constexpr int64_t kSize = 2'000'000;  // in fp16, four chunks

// What this program is as a client: `server`, `state_dir`, and after how many bytes of its first
// update it dies.
int RunAsClient(char** argv) {
  ClientOptions options;
  options.server = argv[0];
  options.id = ClientId("c");
  options.state_dir = argv[1];
  options.retry = {.first_delay = absl::Milliseconds(20), .max_delay = absl::Milliseconds(200)};
  int64_t dies_at = 0;
  if (!absl::SimpleAtoi(argv[2], &dies_at)) return 2;
  options.on_event = [dies_at](const ClientEvent& event) {
    if (event.kind == ClientEvent::Kind::kUploading && event.work == "train" &&
        event.version == 0 && event.done >= dies_at) {
      raise(SIGKILL);
    }
  };
  const LayoutPtr layout = test::FlatLayout(kSize, 3);
  auto trainer = std::make_unique<FakeTrainer>(layout);
  trainer->on_train = [layout](const TrainTask& task, ParamVector& model) {
    std::cout << "trains from version " << task.base_version << std::endl;
    return FakeTrainer(layout).Train(task, model);
  };
  auto client = Client::Create(std::move(options), std::move(trainer));
  if (!client.ok()) return 3;
  return (*client)->Run().ok() ? 0 : 1;
}

class ClientKillTest : public ::testing::Test {
 protected:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  static nlohmann::json Job(double liveness_seconds) {
    return {{"name", "client-kill"},
            {"model", {{"custom", "fake"}}},
            {"train", {{"local_steps", 2}}},
            {"scheduler", {{"sync_round", {{"clients_per_round", 1}, {"min_reports", 1}}}}},
            {"codec", {"fp16"}},
            {"liveness_seconds", liveness_seconds},
            {"stop", {{"versions", 2}}}};
  }

  std::unique_ptr<Subprocess> StartClient(const LiveCluster& cluster, int64_t dies_at) const {
    auto started = Subprocess::Start({"/proc/self/exe", kAsClient, cluster.address(),
                                      dir_.File("state"), absl::StrCat(dies_at)});
    EXPECT_THAT(started, test::IsOk());
    return started.ok() ? *std::move(started) : nullptr;
  }

  void KillInMidUpload(const LiveCluster& cluster) const {
    const auto client = StartClient(cluster, 2 << 20);
    ASSERT_NE(client, nullptr);
    ASSERT_THAT(client->Wait(kPatience), IsOkAndHolds(Exit{.code = -1, .signal = SIGKILL}));
    EXPECT_THAT(client->out(), HasSubstr("trains from version 0"));
  }

  const TempDir dir_;
};

TEST_F(ClientKillTest, TheUpdateIsFinishedNotRepeatedAlsoWhenTheServerRestarts) {
  std::string undisturbed;
  for (const bool killed : {false, true}) {
    const TempDir data;
    LiveCluster cluster(data.path());
    const std::string job = cluster.Submit(Job(/*liveness_seconds=*/300));
    if (killed) {
      KillInMidUpload(cluster);
      cluster.Restart();
    }
    const auto client = StartClient(cluster, kNever);
    ASSERT_NE(client, nullptr);
    const v1::Job ended = cluster.AwaitEnd(job);
    EXPECT_EQ(ended.state(), v1::JOB_STATE_DONE) << ended.reason() << client->err();
    EXPECT_EQ(ended.updates(), 2);
    EXPECT_THAT(ended.counters().lost(), IsEmpty());
    const std::string digest = test::NewestDigest(cluster.Versions(job));
    if (!killed) {
      undisturbed = digest;
      std::filesystem::remove_all(dir_.File("state"));
      continue;
    }
    EXPECT_THAT(client->out(), Not(HasSubstr("trains from version 0")));
    EXPECT_THAT(client->out(), HasSubstr("trains from version 1"));
    EXPECT_EQ(digest, undisturbed) << "with the residual of the update that was finished";
  }
}

TEST_F(ClientKillTest, AnUpdateThatTheServerGaveUpIsDropped) {
  const TempDir data;
  LiveCluster cluster(data.path());
  const std::string job = cluster.Submit(Job(/*liveness_seconds=*/3));
  KillInMidUpload(cluster);
  cluster.Await(job, [](const v1::Job& j) { return !j.counters().lost().empty(); });
  const auto client = StartClient(cluster, kNever);
  ASSERT_NE(client, nullptr);
  const v1::Job ended = cluster.AwaitEnd(job);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_DONE) << ended.reason() << client->err();
  EXPECT_EQ(ended.updates(), 2);
  EXPECT_THAT(ended.counters().lost(),
              UnorderedElementsAre(Pair("timed_out", 1), Pair("unknown_work_order", 1)));
  EXPECT_THAT(client->out(), HasSubstr("trains from version 0"));
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) {
  if (argc == 5 && absl::string_view(argv[1]) == tributary::kAsClient) {
    return tributary::RunAsClient(argv + 2);
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
