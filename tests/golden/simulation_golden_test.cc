#include <string>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "server/coordinator/job_file.h"
#include "simulator/experiment.h"
#include "simulator/simulation_spec.h"
#include "tests/golden/golden.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

absl::Status Prepare(const std::string& path) {
  auto file = ReadSimulationFile(path);
  if (!file.ok()) return file.status();
  return Experiment::Create(*std::move(file), {.threads = 1}).status();
}

TEST(SimulationGoldenTest, BadSimulationsAreRefusedWithTheseWords) {
  EXPECT_GE(test::ExpectGoldenErrors("tests/golden/bad_jobs", ".sim.yaml", Prepare), 25);
}

// What stands before the heading is written by hand.
TEST(SimulationGoldenTest, TheOptionsReferenceIsUpToDate) {
  constexpr absl::string_view kHeading = "\n## `simulation`\n";
  const std::string doc = test::ReadFile(test::SourcePath("docs/simulator.md"));
  const size_t at = doc.find(kHeading.data());
  ASSERT_NE(at, std::string::npos);
  test::ExpectGolden("docs/simulator.md",
                     doc.substr(0, at + kHeading.size()) +
                         OptionsMarkdown("simulation", config::SchemaOf<SimulationSpec>()));
}

}  // namespace
}  // namespace tributary
