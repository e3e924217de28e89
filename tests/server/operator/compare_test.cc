#include "server/operator/compare.h"

#include <sstream>
#include <string>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::op {
namespace {

using cli::ExitCode;
using ::nlohmann::json;
using test::TempDir;
using ::testing::HasSubstr;

constexpr char kSlow[] = R"({"name": "fedavg", "versions": 40, "updates": 400,
  "virtual_seconds": 100.0, "wall_seconds": 7.0, "uplink_bytes": 4000000, "downlink_bytes": 10,
  "final": {"loss": 0.5, "accuracy": 0.80}, "best": {"accuracy": 0.81, "version": 39},
  "targets": [{"accuracy": 0.75, "version": 20, "updates": 200, "virtual_seconds": 50.0,
               "uplink_bytes": 2000000},
              {"accuracy": 0.90, "version": null, "updates": null, "virtual_seconds": null,
               "uplink_bytes": null}]})";
constexpr char kFast[] = R"({"name": "compass", "versions": 60, "updates": 400,
  "virtual_seconds": 25.0, "wall_seconds": 7.5, "uplink_bytes": 1000000, "downlink_bytes": 10,
  "final": {"loss": 0.4, "accuracy": 0.85}, "best": {"accuracy": 0.85, "version": 60},
  "targets": [{"accuracy": 0.75, "version": 30, "updates": 200, "virtual_seconds": 10.0,
               "uplink_bytes": 500000}]})";
constexpr char kLive[] = R"({"versions": 20, "wall_seconds": 50.0,
  "final": {"loss": 0.4, "accuracy": 0.82}})";

class CompareTest : public ::testing::Test {
 protected:
  std::string Add(const std::string& name, const std::string& summary) {
    dir_.Write(name + "/summary.json", summary);
    return dir_.File(name);
  }
  TempDir dir_;
};

TEST_F(CompareTest, RatiosAreToTheFirstDirectory) {
  TRIB_ASSERT_OK_AND_ASSIGN(const json both, Compare({Add("a", kSlow), Add("b", kFast)}));
  const json& runs = both["runs"];
  EXPECT_EQ(runs[0]["seconds_ratio"], 1.0);
  EXPECT_EQ(runs[1]["seconds"], 25.0);
  EXPECT_EQ(runs[1]["seconds_ratio"], 0.25);
  EXPECT_EQ(runs[1]["uplink_bytes_ratio"], 0.25);
  EXPECT_EQ(runs[1]["versions_ratio"], 1.5);
  EXPECT_NEAR(runs[1]["accuracy_difference"].get<double>(), 0.05, 1e-12);
}

TEST_F(CompareTest, TargetsAreTheUnionAndNeverReachedIsNull) {
  TRIB_ASSERT_OK_AND_ASSIGN(const json both, Compare({Add("a", kSlow), Add("b", kFast)}));
  const json& targets = both["targets"];
  ASSERT_EQ(targets.size(), 2U);
  EXPECT_EQ(targets[0]["accuracy"], 0.75);
  EXPECT_EQ(targets[0]["runs"][1]["seconds_ratio"], 0.2);
  EXPECT_EQ(targets[0]["runs"][1]["uplink_bytes_ratio"], 0.25);
  EXPECT_EQ(targets[1]["accuracy"], 0.90);
  EXPECT_EQ(targets[1]["runs"][0]["version"], json());
  EXPECT_EQ(targets[1]["runs"][1]["seconds_ratio"], json());
}

TEST_F(CompareTest, ALiveRunHasWallSecondsAndFewerFigures) {
  TRIB_ASSERT_OK_AND_ASSIGN(const json both, Compare({Add("a", kLive), Add("b", kFast)}));
  EXPECT_EQ(both["runs"][0]["seconds"], 50.0);
  EXPECT_EQ(both["runs"][0]["uplink_bytes"], json());
  EXPECT_EQ(both["runs"][1]["uplink_bytes_ratio"], json());
}

TEST_F(CompareTest, BadDirectoriesAreNamed) {
  EXPECT_THAT(Compare({dir_.File("none")}).status(),
              test::StatusIs(absl::StatusCode::kNotFound, HasSubstr("none/summary.json")));
  EXPECT_THAT(Compare({Add("list", "[]")}).status(),
              test::StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a JSON object")));
  EXPECT_THAT(Compare({Add("cut", R"({"versions": 1)")}).status(),
              test::StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Compare({Add("other", R"({"versions": "3"})")}).status(),
              test::StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("/versions")));
  EXPECT_THAT(Compare({Add("bare", R"({"versions": 3})")}).status(),
              test::StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("/final/accuracy")));
}

TEST_F(CompareTest, TablesForPeople) {
  std::ostringstream out, err;
  SimulatedClock clock;
  const std::string a = Add("a", kSlow), b = Add("b", kFast);
  EXPECT_EQ(CompareRuns({out, err, clock}, {a, b}), ExitCode::kDone);
  EXPECT_THAT(out.str(), HasSubstr("25.0 (x0.25)"));
  EXPECT_THAT(out.str(), HasSubstr("TO 75.0 %"));
  EXPECT_THAT(out.str(), HasSubstr("30 (x1.50)"));
  EXPECT_THAT(out.str(), HasSubstr("never"));
  EXPECT_EQ(CompareRuns({out, err, clock}, {a, dir_.File("none")}), ExitCode::kFailed);
  EXPECT_THAT(err.str(), HasSubstr("none/summary.json"));
}

}  // namespace
}  // namespace tributary::op
