#include "simulator/report/run_groups.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::report {
namespace {

using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RunGroupsTest : public ::testing::Test {
 protected:
  void Add(const std::string& name, const std::string& first_line) {
    dir_.Write(name + "/summary.json", R"({"name": "job"})");
    if (!first_line.empty()) dir_.Write(name + "/events.jsonl", first_line + "\n");
    dirs_.push_back(dir_.File(name));
  }
  // The runs of each group.
  std::vector<std::vector<size_t>> Groups() {
    const auto groups = GroupRuns(dirs_);
    EXPECT_TRUE(groups.ok()) << groups.status();
    std::vector<std::vector<size_t>> runs;
    if (groups.ok()) {
      for (const RunGroup& group : *groups) runs.push_back(group.runs);
    }
    return runs;
  }
  const test::TempDir dir_;
  std::vector<std::string> dirs_;
};

TEST_F(RunGroupsTest, OnlyTheSeedMayDiffer) {
  Add("a1", R"({"job": {"seed": 1, "stop": {"versions": 5}}})");
  Add("b1", R"({"job": {"seed": 1, "stop": {"versions": 6}}})");
  Add("a2", R"({"job": {"stop": {"versions": 5}, "seed": 2}})");
  Add("b9", R"({"job": {"seed": 9, "stop": {"versions": 6}}})");
  Add("a3", R"({"job": {"seed": 3, "stop": {"versions": 5}}, "started_at": 17})");
  EXPECT_THAT(Groups(), ElementsAre(ElementsAre(0, 2, 4), ElementsAre(1, 3)));
}

// Jobs are alike but ran in different worlds, which a log need not tell.
TEST_F(RunGroupsTest, ASeedIsInAGroupOnce) {
  for (const char* world : {"x", "y"}) {
    for (const int seed : {1, 2}) {
      Add(absl::StrCat(world, seed), absl::StrCat(R"({"job": {"seed": )", seed, "}}"));
    }
  }
  EXPECT_THAT(Groups(), ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3)));
}

TEST_F(RunGroupsTest, TheWorldsSeedMayDifferToo) {
  Add("a", R"({"job": {"seed": 1}, "simulation": {"seed": 1, "clients": 3}})");
  Add("b", R"({"job": {"seed": 2}, "simulation": {"seed": 2, "clients": 3}})");
  Add("c", R"({"job": {"seed": 3}, "simulation": {"seed": 3, "clients": 4}})");
  EXPECT_THAT(Groups(), ElementsAre(ElementsAre(0, 1), ElementsAre(2)));
}

TEST_F(RunGroupsTest, AFolderWithoutEventsIsAlone) {
  Add("a", "");
  Add("b", "");
  EXPECT_THAT(Groups(), ElementsAre(ElementsAre(0), ElementsAre(1)));
}

TEST_F(RunGroupsTest, LabelsTellGroupsApart) {
  Add("a", R"({"job": {"seed": 1}})");
  Add("b", R"({"job": {"seed": 1, "x": 1}})");
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<RunGroup> groups, GroupRuns(dirs_));
  EXPECT_EQ(groups[0].label, dirs_[0]);
  EXPECT_EQ(groups[1].label, dirs_[1]);
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<RunGroup> one, GroupRuns({dirs_[0]}));
  EXPECT_EQ(one[0].label, "job");
}

TEST_F(RunGroupsTest, BadFilesAreNamed) {
  Add("a", R"({"at": 0})");
  EXPECT_THAT(GroupRuns(dirs_).status(), StatusIs(absl::StatusCode::kInvalidArgument,
                                                  HasSubstr("a/events.jsonl:1: the first line")));
  EXPECT_THAT(GroupRuns({dir_.File("none")}).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none/summary.json")));
}

}  // namespace
}  // namespace tributary::report
