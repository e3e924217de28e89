#include "simulator/report/comparison.h"

#include <string>
#include <vector>

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
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none/summary.json")));
  EXPECT_THAT(Compare({Add("list", "[]")}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a JSON object")));
  EXPECT_THAT(Compare({Add("cut", R"({"versions": 1)")}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Compare({Add("other", R"({"versions": "3"})")}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("/versions")));
  EXPECT_THAT(Compare({Add("bare", R"({"versions": 3})")}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("/final/accuracy")));
}

TEST_F(CompareTest, MembersOfOtherTypesAreAsIfAbsent) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const json one, Compare({Add("a", R"({"versions": 3, "final": {"accuracy": 0.5}, "name": 7,
                                            "targets": {"accuracy": 1}, "best": []})")}));
  EXPECT_EQ(one["runs"][0]["name"], "");
  EXPECT_EQ(one["runs"][0]["best_accuracy"], json());
  EXPECT_EQ(one["targets"], json::array());
}

// Seeds 1, 2, 3 reach 0.5 at version 6, after 30 s each time their slowness.
class GroupsTest : public CompareTest {
 protected:
  std::vector<std::string> Seeds(const std::string& name, std::vector<double> slowness) {
    std::vector<std::string> dirs;
    for (const double factor : slowness) {
      const int seed = static_cast<int>(dirs.size()) + 1;
      dirs.push_back(test::WriteRecordedRun(dir_, name + std::to_string(seed),
                                            {.name = name, .seed = seed, .slowness = factor}));
    }
    return dirs;
  }
};

TEST_F(GroupsTest, SeedsAreMedianAndRange) {
  std::vector<std::string> dirs = Seeds("slow", {1.0, 4.0, 2.0});
  for (const std::string& dir : Seeds("fast", {0.5, 0.1})) dirs.push_back(dir);
  TRIB_ASSERT_OK_AND_ASSIGN(const json all, Compare(dirs));
  const json& groups = all["groups"];
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0]["label"], "slow");
  EXPECT_EQ(groups[0]["dirs"], json({dirs[0], dirs[1], dirs[2]}));
  EXPECT_EQ(groups[0]["seconds"], json({{"median", 120.0}, {"min", 60.0}, {"max", 240.0}}));
  EXPECT_EQ(groups[1]["seconds"]["median"], 18.0);
  EXPECT_EQ(groups[1]["seconds_ratio"], 0.15);

  const json& target = all["targets"][0]["groups"];
  EXPECT_EQ(target[0]["seconds"], json({{"median", 60.0}, {"min", 30.0}, {"max", 120.0}}));
  EXPECT_EQ(target[0]["reached"], 3);
  EXPECT_EQ(target[0]["of"], 3);
  EXPECT_EQ(target[1]["seconds_ratio"], 0.15);
  const json& never = all["targets"][1]["groups"][0];
  EXPECT_EQ(never["reached"], 0);
  EXPECT_EQ(never["seconds"]["median"], json());
  EXPECT_EQ(never["seconds_ratio"], json());
}

TEST_F(GroupsTest, ThePageHasMediansOverAllAxes) {
  TRIB_ASSERT_OK_AND_ASSIGN(const json page, ComparisonPageData(Seeds("x", {1.0, 4.0, 2.0})));
  EXPECT_EQ(page["kind"], "comparison");
  EXPECT_EQ(page["runs"][2]["group"], 0);
  EXPECT_EQ(page["runs"][1]["metrics"]["rows"].size(), 13U);
  const json& medians = page["groups"][0]["medians"];
  // All reach version v with the same accuracy: by versions the median is any of them.
  EXPECT_EQ(medians["accuracy"]["version"].size(), 13U);
  EXPECT_EQ(medians["accuracy"]["version"][4], json({4.0, 0.4}));
  EXPECT_EQ(medians["loss"]["uplink_bytes"].size(), 13U);
  // By time the run of slowness 2 is in the middle, to the end of the first to end, at 60 s.
  const json& by_time = medians["accuracy"]["virtual_seconds"];
  EXPECT_EQ(by_time.back()[0], 60.0);
  EXPECT_NEAR(by_time.back()[1].get<double>(), 0.2 + 0.05 * 6, 1e-9);  // at 60 s of 120
}

}  // namespace
}  // namespace tributary::report
