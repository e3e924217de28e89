// A real file system that is really full. Needs the right to mount one, in a namespace that goes
// with the process; skipped where there is none.

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <fstream>
#include <future>
#include <memory>
#include <string>
#include <system_error>

#include "absl/strings/match.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/params.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::LiveCluster;
using test::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kVersions = 6;

// A file system of 24 MiB, under a folder of its own.
class SmallDisk {
 public:
  bool Mount() {
    return unshare(CLONE_NEWNS) == 0 &&
           mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=24m") == 0;
  }
  ~SmallDisk() { umount2(dir_.path().c_str(), MNT_DETACH); }

  std::string data_dir() const { return dir_.File("data"); }
  void Fill() {
    std::ofstream ballast(dir_.File("ballast"), std::ios::binary);
    const std::string block(4096, 'b');
    while (ballast.write(block.data(), 4096).flush()) {
    }
  }
  void MakeRoom() { unlink(dir_.File("ballast").c_str()); }

 private:
  TempDir dir_;
};

// Fills the disk when it is to train on a version for the first time.
class FillingTrainer final : public FakeTrainer {
 public:
  FillingTrainer(LayoutPtr layout, SmallDisk* disk, Version when)
      : FakeTrainer(std::move(layout)), disk_(disk), when_(when) {}

  absl::StatusOr<TrainResult> Train(const TrainTask& task, ParamVector& model) override {
    if (task.base_version == when_) {
      when_ = -1;
      disk_->Fill();
    }
    return FakeTrainer::Train(task, model);
  }

 private:
  SmallDisk* const disk_;
  Version when_;
};

std::string RunJob(SmallDisk& disk, Version fill_at) {
  const LayoutPtr layout = test::FlatLayout(100'000, 4);
  LiveCluster cluster(disk.data_dir(), {.min_free_bytes = 1 << 20});
  const std::string job =
      cluster.Submit({{"name", fill_at < 0 ? "roomy" : "full"},
                      {"seed", 5},
                      {"model", {{"custom", "fake"}}},
                      {"train", {{"local_steps", 1}}},
                      {"scheduler", {{"sync_round", {{"clients_per_round", 2}}}}},
                      {"stop", {{"versions", kVersions}}}});
  cluster.AddClient("a", std::make_unique<FillingTrainer>(layout, &disk, fill_at));
  cluster.AddClient("b", std::make_unique<FakeTrainer>(layout));
  if (fill_at >= 0) {
    const v1::Job paused =
        cluster.Await(job, [](const v1::Job& j) { return j.state() == v1::JOB_STATE_PAUSED; });
    EXPECT_EQ(paused.state(), v1::JOB_STATE_PAUSED);
    EXPECT_THAT(paused.reason(), HasSubstr("disk full: "));
    EXPECT_LE(paused.version(), fill_at + 1);
    disk.MakeRoom();
  }
  const v1::Job ended = cluster.AwaitEnd(job);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_DONE) << ended.reason();
  EXPECT_EQ(ended.version(), kVersions);
  EXPECT_EQ(ended.updates(), 2 * kVersions);
  EXPECT_THAT(ended.counters().lost(), IsEmpty());
  EXPECT_EQ(ended.counters().disk_pauses() > 0, fill_at >= 0);
  return test::NewestDigest(cluster.Versions(job));
}

TEST(FullDisk, TheJobWaitsForRoomAndEndsWithTheSameModel) {
  SmallDisk disk;
  if (!disk.Mount()) {
    GTEST_SKIP() << "no right to mount: " << std::system_category().message(errno);
  }
  const std::string undisturbed = RunJob(disk, -1);
  EXPECT_EQ(undisturbed.size(), 64u);
  EXPECT_EQ(RunJob(disk, 2), undisturbed);
}

}  // namespace
}  // namespace tributary
