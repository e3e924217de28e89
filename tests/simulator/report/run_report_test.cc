#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/report/report.h"
#include "tests/simulator/report/recorded_run.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::report {
namespace {

using ::nlohmann::json;
using test::StatusIs;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Notes(const json& data) {
  return data["notes"].get<std::vector<std::string>>();
}

class RunReportTest : public ::testing::Test {
 protected:
  const test::TempDir dir_;
};

TEST_F(RunReportTest, ShowsTheWholeOfASmallRun) {
  TRIB_ASSERT_OK_AND_ASSIGN(const json data, RunReportData(test::WriteRecordedRun(dir_, "run")));
  EXPECT_EQ(data["kind"], "run");
  EXPECT_EQ(data["job"]["name"], "six-clients");
  EXPECT_EQ(data["summary"]["versions"], 12);
  EXPECT_EQ(data["metrics"]["rows"].size(), 13U);
  EXPECT_EQ(data["publications"].size(), 12U);
  EXPECT_EQ(data["truth"], "drawn");
  EXPECT_EQ(data["clients"], 6);
  EXPECT_EQ(data["notes"], json::array());
  EXPECT_EQ(data["local_steps"][0][0], 10);

  const json& clients = data["timeline"]["clients"];
  ASSERT_EQ(clients.size(), 6U);
  EXPECT_EQ(clients[0]["id"], "c0") << "the fastest";
  EXPECT_EQ(clients[0]["examples"], 100);
  EXPECT_NEAR(clients[3]["vanished"].get<double>(), 30.0, 1e-9);
  EXPECT_EQ(clients[4]["late"], 4);
  EXPECT_EQ(clients[5]["lost"], 3);
  EXPECT_EQ(clients[0]["vanished"], json());
}

TEST_F(RunReportTest, OrdersAreRowsOfTheTimeline) {
  TRIB_ASSERT_OK_AND_ASSIGN(const json data, RunReportData(test::WriteRecordedRun(dir_, "run")));
  const json& orders = data["timeline"]["orders"];
  // row, from, to, end, group, id, steps, deadline
  EXPECT_NEAR(orders[0][7].get<double>(), 1.2, 1e-9);
  json first = orders[0];
  first.erase(7);
  EXPECT_EQ(first, json({0, 0.0, 1.0, "arrived", 0, 1001, 10}));
  int late = 0;
  for (const json& order : orders) late += order[3] == "late" ? 1 : 0;
  EXPECT_EQ(late, 4);
}

TEST_F(RunReportTest, EstimatesAreDividedByTheTruth) {
  TRIB_ASSERT_OK_AND_ASSIGN(const json drawn, RunReportData(test::WriteRecordedRun(dir_, "a")));
  // The first order's estimate is 40 % too long, for every client.
  EXPECT_NEAR(drawn["estimates"][0][1].get<double>(), 1.4, 1e-6);
  TRIB_ASSERT_OK_AND_ASSIGN(
      const json measured,
      RunReportData(test::WriteRecordedRun(dir_, "b", {.predicts = false, .fleet = false})));
  EXPECT_EQ(measured["truth"], "measured");
  EXPECT_EQ(measured["estimates"], json::array());
}

TEST_F(RunReportTest, LargeRunsAreThinnedAndSaySo) {
  const std::string run = test::WriteRecordedRun(dir_, "run");
  TRIB_ASSERT_OK_AND_ASSIGN(
      const json data,
      RunReportData(
          run, {.clients = 4, .orders = 70, .versions = 5, .estimates = 9, .histogram_bins = 2}));
  // Four clients have too many orders; two have not.
  const json& clients = data["timeline"]["clients"];
  ASSERT_EQ(clients.size(), 2U);
  EXPECT_EQ(clients[0]["id"], "c0");
  EXPECT_EQ(clients[1]["id"], "c5");
  EXPECT_LE(data["timeline"]["orders"].size(), 70U);
  EXPECT_EQ(data["metrics"]["rows"].size(), 5U);
  EXPECT_EQ(data["metrics"]["rows"][4][0], 12.0) << "the last version";
  EXPECT_EQ(data["publications"].size(), 5U);
  EXPECT_EQ(data["estimates"].size(), 9U);
  EXPECT_EQ(data["staleness"].size(), 2U);
  EXPECT_THAT(Notes(data), Contains(HasSubstr("show 2 of 6 clients")));
  EXPECT_THAT(Notes(data), Contains(HasSubstr("show 5 of 13 versions")));
  EXPECT_THAT(Notes(data), Contains(HasSubstr("estimates show 9 of")));
}

TEST_F(RunReportTest, OneClientOfManyOrdersIsCut) {
  const std::string run = test::WriteRecordedRun(dir_, "run");
  TRIB_ASSERT_OK_AND_ASSIGN(const json data, RunReportData(run, {.orders = 8}));
  EXPECT_EQ(data["timeline"]["clients"].size(), 1U);
  EXPECT_EQ(data["timeline"]["orders"].size(), 8U);
  EXPECT_THAT(Notes(data), Contains(HasSubstr("shows the first 8 of ")));
}

TEST_F(RunReportTest, ASummaryAloneIsAReport) {
  dir_.Write("live/summary.json", R"({"name": "live", "versions": 3})");
  TRIB_ASSERT_OK_AND_ASSIGN(const json data, RunReportData(dir_.File("live")));
  EXPECT_THAT(Notes(data), ElementsAre(HasSubstr("no metrics.csv"), HasSubstr("no events.jsonl")));
  EXPECT_FALSE(data.contains("timeline"));
}

TEST_F(RunReportTest, BadFilesAreNamed) {
  const std::string run = test::WriteRecordedRun(dir_, "run");
  EXPECT_THAT(RunReportData(dir_.File("none")).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none/summary.json")));
  const std::vector<std::pair<std::string, std::string>> files = {
      {"fleet.json", "fleet.json: "},
      {"events.jsonl", "events.jsonl:1: "},
      {"metrics.csv", "metrics.csv:2: "},
      {"summary.json", "summary.json: "}};
  for (const auto& [file, place] : files) {
    dir_.Write("run/" + file, "a,b\n[\n");
    EXPECT_THAT(RunReportData(run).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("run/" + place)));
  }
}

TEST_F(RunReportTest, WritesWhereItMay) {
  EXPECT_THAT(WritePage("<p>", dir_.File("page.html")), test::IsOk());
  EXPECT_EQ(test::ReadFile(dir_.File("page.html")), "<p>");
  EXPECT_THAT(WritePage("<p>", dir_.File("none/page.html")),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("none/page.html")));
}

}  // namespace
}  // namespace tributary::report
