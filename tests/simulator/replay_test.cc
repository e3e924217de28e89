#include "simulator/replay.h"

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/experiment.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::TempDir;
using ::testing::HasSubstr;

class ReplayTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto file = test::SmallWorld(dir_);
    ASSERT_TRUE(file.ok()) << file.status();
    const JobSpec job = file->job;
    auto experiment = Experiment::Create(*std::move(file), {.threads = 1});
    ASSERT_TRUE(experiment.ok()) << experiment.status();
    auto log = RunLog::Create(dir_.path(), job);
    ASSERT_TRUE(log.ok());
    ASSERT_TRUE((*experiment)->Run(log->get()).ok());
    log->reset();
    std::ifstream events(Path());
    for (std::string line; std::getline(events, line);) lines_.push_back(line);
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

TEST_F(ReplayTest, RefusesWhatIsNotAnEventFile) {
  lines_ = {"{\"version\":1}"};
  EXPECT_EQ(ReplayLines().status().code(), absl::StatusCode::kInvalidArgument);
  lines_ = {"nonsense"};
  EXPECT_EQ(ReplayLines().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Replay("/no/such/file").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace tributary
