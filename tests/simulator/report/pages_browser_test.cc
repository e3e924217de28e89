// The pages of recorded runs in a real browser.
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/report/report.h"
#include "tests/simulator/report/browser.h"
#include "tests/simulator/report/recorded_run.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using ::nlohmann::json;
using ::testing::ElementsAre;

std::vector<std::string> Titles(const json& view) {
  std::vector<std::string> titles;
  for (const json& chart : view["charts"]) titles.push_back(chart["title"]);
  return titles;
}

class PagesBrowserTest : public ::testing::Test {
 protected:
  std::string Write(const absl::StatusOr<std::string>& html) {
    EXPECT_TRUE(html.ok()) << html.status();
    return dir_.Write("page.html", html.value_or(""));
  }
  const test::TempDir dir_;
};

TEST_F(PagesBrowserTest, ARunShowsAllItsCharts) {
  const json views = test::OpenInBrowser(
      Write(report::RunReport(test::WriteRecordedRun(dir_, "run"))), "recorded-run");
  for (const json& view : views) {
    EXPECT_EQ(view["heading"], "six-clients");
    EXPECT_THAT(Titles(view), ElementsAre("Accuracy", "Loss", "Timeline", "Staleness",
                                          "Local steps", "Speed estimates", "Traffic"));
    EXPECT_THAT(view["sections"].get<std::vector<std::string>>(),
                ElementsAre("Progress", "Clients at work", "Staleness, steps and speed", "Clients",
                            "Figures", "Job"));
  }
  ASSERT_EQ(views.size(), 4U);
  EXPECT_NE(views[0]["background"], views[1]["background"]) << "light and dark";
}

TEST_F(PagesBrowserTest, RatesThatMovedHaveAChart) {
  const std::string run = test::WriteRecordedRun(dir_, "run", {.rate_growth = 0.25});
  for (const json& view : test::OpenInBrowser(Write(report::RunReport(run)), "moved-rates")) {
    EXPECT_THAT(Titles(view), ElementsAre("Accuracy", "Loss", "Rates", "Timeline", "Staleness",
                                          "Local steps", "Speed estimates", "Traffic"));
  }
}

TEST_F(PagesBrowserTest, TasksAreAHeatMapThatCanBeRead) {
  const std::string run = test::WriteRecordedRun(dir_, "run", {.tasks = 10});
  for (const json& view : test::OpenInBrowser(Write(report::RunReport(run)), "ten-tasks")) {
    EXPECT_THAT(view["sections"][1], "Tasks");
    const json& cells = view["shaded"];
    ASSERT_EQ(cells.size(), 55U) << "a task is not evaluated before it is learnt";
    EXPECT_EQ(cells[0]["text"], "90.0\u00a0%");
    EXPECT_EQ(cells[1]["text"], "80.0\u00a0%");
    EXPECT_EQ(cells[45]["text"], "0.0\u00a0%");
    EXPECT_EQ(cells[0]["background"], cells[54]["background"]) << "equal accuracies";
    EXPECT_NE(cells[0]["background"], cells[1]["background"]);
    for (const json& cell : cells) EXPECT_GT(cell["contrast"], 4.5) << cell;
  }
}

TEST_F(PagesBrowserTest, SeedsAreOverlaidAsGroups) {
  std::vector<std::string> dirs;
  for (const double slowness : {1.0, 1.1, 1.3}) {
    const int seed = static_cast<int>(dirs.size()) + 1;
    dirs.push_back(test::WriteRecordedRun(dir_, "slow" + std::to_string(seed),
                                          {.name = "slow", .seed = seed, .slowness = slowness}));
    dirs.push_back(
        test::WriteRecordedRun(dir_, "fast" + std::to_string(seed),
                               {.name = "fast", .seed = seed, .slowness = slowness / 2}));
  }
  const json views =
      test::OpenInBrowser(Write(report::ComparisonPage(dirs)), "recorded-comparison");
  for (const json& view : views) {
    EXPECT_EQ(view["heading"], "slow, fast");
    EXPECT_THAT(Titles(view), ElementsAre("Accuracy", "Loss", "To 50.0\u00a0%"));
    EXPECT_EQ(view["tables"], 4) << "groups, runs, two targets";
  }
}

// Names that would end the element they stand in, or start a script, if they were not escaped.
TEST_F(PagesBrowserTest, NamesStayText) {
  const std::string name = "</script></title><script>window.marked = true</script>";
  const std::string run = test::WriteRecordedRun(dir_, "run", {.name = name});
  for (const json& view : test::OpenInBrowser(Write(report::RunReport(run)))) {
    EXPECT_EQ(view["heading"], name);
  }
}

}  // namespace
}  // namespace tributary
