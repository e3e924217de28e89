#include <sstream>
#include <string>

#include "common/cli/exit_code.h"
#include "common/cli/format.h"
#include "common/cli/progress_line.h"
#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary::cli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(FormatTest, Bytes) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(1000), "1.0 kB");
  EXPECT_EQ(FormatBytes(999960), "1.0 MB");
  EXPECT_EQ(FormatBytes(2.5e9), "2.5 GB");
  EXPECT_EQ(FormatBytes(7e15), "7000.0 TB");
}

TEST(FormatTest, Seconds) {
  EXPECT_EQ(FormatSeconds(absl::Milliseconds(1400)), "1 s");
  EXPECT_EQ(FormatSeconds(absl::Milliseconds(59600)), "1 min 00 s");
  EXPECT_EQ(FormatSeconds(absl::Seconds(125)), "2 min 05 s");
  EXPECT_EQ(FormatSeconds(absl::Minutes(200)), "3 h 20 min");
}

TEST(FormatTest, TableAlignsColumnsAndEndsLinesCleanly) {
  EXPECT_EQ(FormatTable({{"A", "LONG", "C"}, {"wide", "x", ""}}), "A     LONG  C\nwide  x\n");
  EXPECT_EQ(FormatTable({}), "");
}

TEST(FormatTest, Phase) {
  EXPECT_EQ(FormatPhase({}), "-");
  EXPECT_EQ(FormatPhase({.phase = "train"}), "training");
  EXPECT_EQ(FormatPhase({.phase = "initialise"}), "waiting for its first model");
  EXPECT_EQ(FormatPhase({.phase = "explore", .contributions = 3, .contributions_asked = 8}),
            "collecting explorations (3 of 8)");
  EXPECT_EQ(FormatPhase({.phase = "end_task", .task = 1, .tasks = 5}),
            "task 2 of 5, ending the task");
  EXPECT_EQ(
      FormatPhase(
          {.phase = "sketch", .contributions = 0, .contributions_asked = 2, .task = 0, .tasks = 5}),
      "task 1 of 5, collecting sketches (0 of 2)");
  EXPECT_EQ(FormatPhase({.task = 4, .tasks = 5}), "task 5 of 5");
}

TEST(ExitCodeTest, FollowsTheStatus) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), ExitCode::kDone);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), ExitCode::kRefused);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), ExitCode::kUnreachable);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), ExitCode::kUnreachable);
  EXPECT_EQ(ExitCodeOf(absl::UnauthenticatedError("")), ExitCode::kNotAllowed);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("")), ExitCode::kNotAllowed);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), ExitCode::kFailed);
}

class ProgressLineTest : public ::testing::Test {
 protected:
  static JobView At(int64_t version) {
    return {.version = version, .stop_versions = 10, .state = "running"};
  }
  std::string Show(ProgressLine& line, const JobView& job) {
    out_.str("");
    line.Show(job);
    return out_.str();
  }
  std::string Finish(ProgressLine& line) {
    out_.str("");
    line.Finish();
    return out_.str();
  }
  std::ostringstream out_;
  SimulatedClock clock_;
};

TEST_F(ProgressLineTest, RedrawsOneLineOnATerminalAndTellsTheTimeLeft) {
  ProgressLine line(out_, /*terminal=*/true, clock_);
  EXPECT_THAT(Show(line, At(2)), Not(HasSubstr("ETA")));
  clock_.AdvanceBy(absl::Seconds(20));
  EXPECT_EQ(Show(line, At(6)), "\r\x1b[K[##############----------]  6/10  updates 0  ETA 20 s");
  EXPECT_EQ(Finish(line), "\n");
  EXPECT_EQ(Finish(line), "");
}

TEST_F(ProgressLineTest, PrintsPlainLinesElsewhereNoneTwiceAndNotTooOften) {
  ProgressLine line(out_, /*terminal=*/false, clock_);
  EXPECT_EQ(Show(line, At(6)), "[##############----------]  6/10  updates 0\n");
  EXPECT_EQ(Show(line, At(7)), "");
  clock_.AdvanceBy(absl::Seconds(3));
  JobView job = At(8);
  job.state = "paused";
  EXPECT_THAT(Show(line, job), EndsWith("8/10  updates 0  paused\n"));
  clock_.AdvanceBy(absl::Seconds(3));
  EXPECT_EQ(Show(line, job), "");
}

TEST_F(ProgressLineTest, FinishShowsTheLastStateThatWasHeldBack) {
  ProgressLine line(out_, /*terminal=*/false, clock_);
  Show(line, At(6));
  EXPECT_EQ(Show(line, At(10)), "");
  EXPECT_THAT(Finish(line), HasSubstr("10/10"));
}

TEST_F(ProgressLineTest, JobsWithoutAVersionGoalOrAModelYet) {
  JobView job = At(-1);
  job.state = "initialising";
  EXPECT_THAT(ProgressLine::Text(job, std::nullopt), EndsWith("0/10  updates 0  initialising"));
  EXPECT_EQ(ProgressLine::Text({.version = 7, .state = "running"}, std::nullopt),
            "version 7  updates 0");
  EXPECT_THAT(ProgressLine::Text(At(12), std::nullopt), HasSubstr("[########################]"));
}

TEST_F(ProgressLineTest, TellsThePhaseOfARunningJobUnlessItJustTrains) {
  JobView job = At(5);
  job.phase = "task 2 of 5, ending the task";
  EXPECT_THAT(ProgressLine::Text(job, std::nullopt),
              EndsWith("updates 0  task 2 of 5, ending the task"));
  job.state = "paused";
  EXPECT_THAT(ProgressLine::Text(job, std::nullopt), EndsWith("updates 0  paused"));
  job = At(5);
  job.phase = "training";
  EXPECT_THAT(ProgressLine::Text(job, std::nullopt), EndsWith("updates 0"));
}

TEST_F(ProgressLineTest, TellsWhatWasMeasuredAndLost) {
  JobView job = At(5);
  job.accuracy = 0.8125;
  job.loss = 0.5;
  job.lost = 2;
  job.note = "virtual 3 s";
  EXPECT_THAT(ProgressLine::Text(job, absl::Seconds(14)),
              EndsWith("accuracy 81.2 %  loss 0.5000  updates 0  lost 2  virtual 3 s  ETA 14 s"));
}

}  // namespace
}  // namespace tributary::cli
