#include "simulator/replay.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/params/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/run_record.h"
#include "simulator/experiment.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::TempDir;
using ::testing::HasSubstr;

class ReplayTest : public ::testing::Test {
 protected:
  void SetUp() override { Run({}); }

  void Run(std::vector<std::string> set) {
    auto file = test::SmallWorld(dir_, std::move(set));
    ASSERT_THAT(file, test::IsOk());
    const JobSpec job = file->job;
    auto experiment = Experiment::Create(*std::move(file), {.threads = 1});
    ASSERT_TRUE(experiment.ok()) << experiment.status();
    auto log = RunLog::Create(dir_.path(), job);
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE((*experiment)->Run(log->get()).ok());
    digest_ = (*experiment)->Summary().progress.model_digest;
    log->reset();
    lines_.clear();
    std::ifstream events(Path());
    for (std::string line; std::getline(events, line);) lines_.push_back(line);
  }

  void AddDigests() {
    auto controller =
        JobController::Create(*ParseJobSpecJson(nlohmann::json::parse(lines_[0]).at("job").dump()));
    (*controller)->Start(absl::UnixEpoch(), false);
    RunDigest digest;
    for (std::string& text : lines_) {
      auto line = nlohmann::json::parse(text);
      if (!line.contains("event")) continue;
      const JobEvent event = *JobEventFromJson(line);
      line["digest"] = digest.Add(event, (*controller)->Handle(event));
      text = line.dump();
    }
  }

  std::string Path() const { return absl::StrCat(dir_.path(), "/events.jsonl"); }
  absl::StatusOr<ReplayResult> ReplayLines() const {
    std::ofstream(Path()) << absl::StrJoin(lines_, "\n") << "\n";
    return Replay(Path());
  }
  size_t FindLine(const std::string& part) const {
    for (size_t i = 0; i < lines_.size(); ++i) {
      if (lines_[i].find(part) != std::string::npos) return i;
    }
    ADD_FAILURE() << part;
    return 0;
  }

  TempDir dir_;
  std::vector<std::string> lines_;
  Digest digest_;  // of the last model
};

TEST_F(ReplayTest, DecidesTheSameAgain) {
  const auto result = ReplayLines();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->versions, 7);
  EXPECT_GT(result->actions, 24);
}

TEST_F(ReplayTest, NoticesAnotherDecision) {
  const size_t i = FindLine("\"kind\":\"train\"");
  lines_[i] = absl::StrReplaceAll(lines_[i], {{"client-", "cliemt-"}});
  const auto result = ReplayLines();
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr(absl::StrCat("events.jsonl:", i + 1)));
}

TEST_F(ReplayTest, NoticesAMissingAndAnExtraDecision) {
  const std::string action = lines_[FindLine("\"kind\":\"train\"")];
  const size_t i = FindLine("\"kind\":\"train\"");
  lines_.erase(lines_.begin() + static_cast<long>(i));
  EXPECT_EQ(ReplayLines().status().code(), absl::StatusCode::kDataLoss);
  lines_.insert(lines_.begin() + static_cast<long>(i), 2, action);
  EXPECT_EQ(ReplayLines().status().code(), absl::StatusCode::kDataLoss);
}

// As in a live run: each event carries the digest of the run so far.
TEST_F(ReplayTest, NoticesAnEventThatIsNotTheRecordedOne) {
  AddDigests();
  ASSERT_THAT(ReplayLines(), test::IsOk());
  const std::vector<std::string> sound = lines_;
  // No decision follows from the loss, and none from a check-in of a client that is idle.
  const size_t update = FindLine("update_arrived");
  lines_[update] = absl::StrReplaceAll(lines_[update], {{"\"loss\":", "\"loss\":1"}});
  ASSERT_NE(lines_[update], sound[update]);
  EXPECT_THAT(ReplayLines(),
              test::StatusIs(absl::StatusCode::kDataLoss,
                             HasSubstr(absl::StrCat("events.jsonl:", update + 1, ": digest: "))));
  lines_ = sound;
  const size_t timer = FindLine("client_available");
  lines_.erase(lines_.begin() + static_cast<long>(timer));
  EXPECT_THAT(ReplayLines(), test::StatusIs(absl::StatusCode::kDataLoss, HasSubstr("digest")));
}

TEST_F(ReplayTest, TheStartIsPartOfTheRecord) {
  lines_[0] = absl::StrReplaceAll(lines_[0], {{"\"started_at\":0", "\"started_at\":\"soon\""}});
  EXPECT_THAT(ReplayLines(),
              test::StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("started_at: found")));
}

// With the updates at hand the models are made again.
class ReplayUpdatesTest : public ReplayTest {
 protected:
  std::string UpdatePath() const {
    const auto update = nlohmann::json::parse(lines_[FindLine("update_arrived")]);
    return absl::StrCat(Updates(), "/", UpdateFile(update.at("work_order")));
  }
  std::string Updates() const { return absl::StrCat(dir_.path(), "/updates"); }
};

TEST_F(ReplayUpdatesTest, MakesTheSameModelsAgain) {
  ASSERT_FALSE(std::filesystem::exists(Updates())) << "kept without being told to";
  Run({"job.keep_updates=true", "job.keep_versions=1", "job.codec=[fp16]"});
  TRIB_ASSERT_OK_AND_ASSIGN(const ReplayResult result, Replay(dir_.path()));
  EXPECT_EQ(result.model_digest, digest_);
  EXPECT_EQ(result.versions, 7);
  EXPECT_EQ(Replay(Path(), Updates())->model_digest, digest_);
  EXPECT_EQ(Replay(Path())->model_digest, std::nullopt) << "the file alone";
}

TEST_F(ReplayUpdatesTest, NoticesAnUpdateThatIsNotTheOneThatArrived) {
  Run({"job.keep_updates=true"});
  std::fstream file(UpdatePath(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(3);
  file.put(0x3f);
  file.close();
  EXPECT_THAT(Replay(dir_.path()),
              test::StatusIs(absl::StatusCode::kDataLoss,
                             HasSubstr("version 1: the recorded model_digest")));
  // Where the event has the update's checksum, the update is named.
  const auto update = nlohmann::json::parse(lines_[FindLine("update_arrived")]);
  auto with_checksum = update;
  with_checksum["xxh128"] = std::string(32, '0');
  lines_[FindLine("update_arrived")] = with_checksum.dump();
  std::ofstream(Path()) << absl::StrJoin(lines_, "\n") << "\n";
  EXPECT_THAT(Replay(dir_.path()),
              test::StatusIs(absl::StatusCode::kDataLoss,
                             HasSubstr(absl::StrCat(
                                 "work order ", update.at("work_order").get<int64_t>(), ": "))));
}

TEST_F(ReplayUpdatesTest, NoticesAShortAndAMissingUpdate) {
  Run({"job.keep_updates=true"});
  std::filesystem::resize_file(UpdatePath(), 5);
  EXPECT_THAT(Replay(dir_.path()),
              test::StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has 5 bytes")));
  std::filesystem::remove(UpdatePath());
  EXPECT_THAT(Replay(dir_.path()),
              test::StatusIs(absl::StatusCode::kNotFound, HasSubstr("cannot be read")));
}

TEST_F(ReplayUpdatesTest, NoticesAnotherFirstModel) {
  Run({"job.keep_updates=true"});
  const std::string path = absl::StrCat(Updates(), "/", kFirstModelFile);
  TRIB_ASSERT_OK_AND_ASSIGN(ParamVector model, ReadSafetensors(path));
  model.values()[0] += 1;
  ASSERT_THAT(WriteSafetensors(model, path), test::IsOk());
  EXPECT_THAT(Replay(dir_.path()),
              test::StatusIs(absl::StatusCode::kDataLoss, HasSubstr("version 0")));
}

TEST_F(ReplayTest, RefusesWhatIsNotAnEventFile) {
  lines_ = {"{\"version\":1}"};
  EXPECT_EQ(ReplayLines().status().code(), absl::StatusCode::kInvalidArgument);
  lines_ = {"nonsense"};
  EXPECT_EQ(ReplayLines().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Replay("/no/such/file").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tributary
