#include "server/operator/compare.h"

#include <sstream>
#include <string>
#include <vector>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/operator/report_command.h"
#include "simulator/report/page.h"
#include "tests/simulator/report/recorded_run.h"
#include "tests/testing/temp_dir.h"

namespace tributary::op {
namespace {

using cli::ExitCode;
using ::nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

bool HasPages() { return report::PageTemplate().ok(); }

// Runs of 60 virtual seconds times their slowness; accuracy 0.5 is reached half-way.
class CompareRunsTest : public ::testing::Test {
 protected:
  std::string Add(const std::string& folder, const test::RecordedRun& run) {
    return test::WriteRecordedRun(dir_, folder, run);
  }

  const test::TempDir dir_;
  std::ostringstream out_, err_;
  SimulatedClock clock_;
  Console console_{out_, err_, clock_};
};

TEST_F(CompareRunsTest, TablesForPeople) {
  const std::string a = Add("a", {.name = "a"});
  const std::string b = Add("b", {.name = "b", .slowness = 0.25});
  EXPECT_EQ(CompareRuns(console_, {a, b}, ""), ExitCode::kDone);
  EXPECT_THAT(out_.str(),
              AllOf(StartsWith("RUN "), HasSubstr("15.0 (x0.25)"), HasSubstr("7.5 (x0.25)"),
                    HasSubstr("TO 50.0 %"), HasSubstr("6 (x1.00)"), HasSubstr("never")));
  EXPECT_THAT(out_.str(), Not(HasSubstr("MEDIAN"))) << "no group has two runs";
  EXPECT_THAT(err_.str(), IsEmpty());
}

TEST_F(CompareRunsTest, JobsWithTasksShowTheirAverageAndWhatTheyForgot) {
  EXPECT_EQ(
      CompareRuns(console_, {Add("a", {.name = "a", .tasks = 3}), Add("b", {.name = "b"})}, ""),
      ExitCode::kDone);
  EXPECT_THAT(out_.str(), ContainsRegex("^RUN +ACCURACY +BEST +AVERAGE +FORGOTTEN +LOSS "));
  EXPECT_THAT(out_.str(), ContainsRegex("/a +80.0 % +80.0 % +80.0 % +15.0 % +0.5"));
  EXPECT_THAT(out_.str(), ContainsRegex("/b +80.0 % +80.0 % +- +- +0.5"));
}

TEST_F(CompareRunsTest, SeedsAreGroupedAsMedianAndRange) {
  std::vector<std::string> dirs;
  for (const double slowness : {1.0, 3.0, 2.0}) {
    const int seed = static_cast<int>(dirs.size()) + 1;
    dirs.push_back(
        Add("a" + std::to_string(seed), {.name = "avg", .seed = seed, .slowness = slowness}));
  }
  dirs.push_back(Add("b", {.name = "compass", .slowness = 0.5}));
  EXPECT_EQ(CompareRuns(console_, dirs, ""), ExitCode::kDone);
  EXPECT_THAT(out_.str(), ContainsRegex("\nMEDIAN \\(RANGE\\) +RUNS"));
  EXPECT_THAT(out_.str(), ContainsRegex("\navg +3 .*120.0 \\(60.0\\.\\.180.0\\) \\(x1.00\\)"));
  EXPECT_THAT(out_.str(), ContainsRegex("\ncompass +1 .*30.0 \\(x0.25\\)"));
  EXPECT_THAT(out_.str(), ContainsRegex("\navg +3 of 3 .*60.0 \\(30.0\\.\\.90.0\\) \\(x1.00\\)"));
  EXPECT_THAT(out_.str(), ContainsRegex("\navg +0 of 3 +never"));
}

TEST_F(CompareRunsTest, JsonHasTheGroupsToo) {
  console_.json = true;
  EXPECT_EQ(CompareRuns(console_, {Add("a", {})}, ""), ExitCode::kDone);
  const json figures = json::parse(out_.str());
  EXPECT_EQ(figures["runs"].size(), 1U);
  EXPECT_EQ(figures["groups"][0]["label"], "six-clients");
  EXPECT_EQ(figures["targets"][0]["groups"][0]["reached"], 1);
}

TEST_F(CompareRunsTest, BadDirectoriesAreNamed) {
  EXPECT_EQ(CompareRuns(console_, {Add("a", {}), dir_.File("none")}, ""), ExitCode::kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("none/summary.json"));
  EXPECT_THAT(out_.str(), IsEmpty());
}

TEST_F(CompareRunsTest, WritesAPage) {
  if (!HasPages()) GTEST_SKIP() << "this build has no pages";
  const std::string page = dir_.File("page.html");
  EXPECT_EQ(CompareRuns(console_, {Add("a", {})}, page), ExitCode::kDone);
  EXPECT_THAT(out_.str(), HasSubstr("page: " + page));
  EXPECT_THAT(test::ReadFile(page), HasSubstr("<title>Comparison of 1 run</title>"));
  EXPECT_EQ(CompareRuns(console_, {Add("a", {})}, dir_.File("none/page.html")), ExitCode::kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("none/page.html"));
}

TEST_F(CompareRunsTest, ReportGoesBesideTheRunUnlessTold) {
  if (!HasPages()) GTEST_SKIP() << "this build has no pages";
  const std::string run = Add("a", {});
  EXPECT_EQ(ReportRun(console_, run, ""), ExitCode::kDone);
  EXPECT_EQ(out_.str(), run + "/report.html\n");
  EXPECT_THAT(test::ReadFile(run + "/report.html"),
              HasSubstr("<title>six-clients: run report</title>"));
  console_.json = true;
  EXPECT_EQ(ReportRun(console_, run, dir_.File("other.html")), ExitCode::kDone);
  EXPECT_EQ(test::ReadFile(dir_.File("other.html")), test::ReadFile(run + "/report.html"));
  EXPECT_EQ(ReportRun(console_, dir_.File("none"), ""), ExitCode::kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("none/summary.json"));
}

TEST_F(CompareRunsTest, ABuildWithoutPagesSaysSo) {
  if (HasPages()) GTEST_SKIP() << "this build has pages";
  EXPECT_EQ(ReportRun(console_, Add("a", {}), ""), ExitCode::kFailed);
  EXPECT_THAT(err_.str(), HasSubstr("-DTRIBUTARY_WITH_PAGES=ON"));
}

}  // namespace
}  // namespace tributary::op
