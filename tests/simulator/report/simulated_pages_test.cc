// The report.html that a real simulation leaves, in a real browser.
#include <string>

#include "gtest/gtest.h"
#include "tests/simulator/report/browser.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

TEST(SimulatedPagesTest, ARunLeavesAPageThatShowsIt) {
  const test::TempDir dir;
  const std::string out = dir.File("out");
  const test::Completed run =
      test::RunToEnd({test::BinaryPath("tributary-sim"), "run",
                      dir.Write("small.yaml", test::kSmallWorld), "--out", out, "--quiet", "--set",
                      "simulation.targets=[0.5]", "--set", "simulation.network={}"});
  ASSERT_EQ(run.exit, test::Exit{.code = 0}) << run.err;
  for (const auto& view : test::OpenInBrowser(out + "/report.html", "simulated-run")) {
    EXPECT_EQ(view["heading"], "small-world");
    EXPECT_EQ(view["charts"].size(), 6U) << "a synchronous scheduler estimates no speeds";
  }
}

}  // namespace
}  // namespace tributary
