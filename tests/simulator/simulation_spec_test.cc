#include "simulator/simulation_spec.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::SmallWorld;
using test::TempDir;
using ::testing::HasSubstr;

TEST(SimulationFileTest, ReadsBothSections) {
  const TempDir dir;
  const auto file = SmallWorld(dir);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->job.name, "small-world");
  EXPECT_EQ(file->simulation.clients, 8);
  EXPECT_EQ(file->job.seed, 3) << "one seed for everything";
  EXPECT_FALSE(file->simulation.network.has_value());
}

TEST(SimulationFileTest, TheCommandLineWins) {
  const TempDir dir;
  const auto file =
      SmallWorld(dir, {"job.stop.versions=2", "simulation.network={uplink_mbps: 3}"}, /*seed=*/9);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->job.stop.versions, 2);
  EXPECT_EQ(file->job.seed, 9);
  EXPECT_EQ(file->simulation.network->uplink_mbps, 3);
}

TEST(SimulationFileTest, HeterogeneityIsOffUnlessAskedFor) {
  const TempDir dir;
  const auto file = SmallWorld(dir);
  ASSERT_TRUE(file.ok()) << file.status();
  const SimulationSpec& spec = file->simulation;
  EXPECT_TRUE(spec.speed_changes.empty());
  EXPECT_EQ(spec.availability.dropout, 0);
  EXPECT_EQ(spec.availability.online.name, "always");
  EXPECT_FALSE(spec.availability.vanishing.has_value());
  EXPECT_FALSE(spec.availability.late_joiners.has_value());
}

TEST(SimulationFileTest, TracesAreRelativeToTheFile) {
  const TempDir dir;
  const auto file = SmallWorld(
      dir, {"simulation.speed={trace: {path: s.csv}}", "simulation.network={trace: n.csv}",
            "simulation.availability.online={trace: {path: /abs/o.csv}}"});
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->simulation.speed.options["path"], dir.File("s.csv"));
  EXPECT_EQ(file->simulation.network->trace, dir.File("n.csv"));
  EXPECT_EQ(file->simulation.availability.online.options["path"], "/abs/o.csv");
}

TEST(SimulationFileTest, BadHeterogeneityIsRefusedWithItsField) {
  const TempDir dir;
  for (const auto& [set, message] : std::vector<std::pair<std::string, std::string>>{
           {"simulation.availability.dropout=1",
            "simulation.availability.dropout: out of range, found 1; allowed: a number from 0, "
            "below 1"},
           {"simulation.availability.vanishing={share: 1.5, by_seconds: 9}",
            "simulation.availability.vanishing.share: out of range, found 1.5; allowed: a number "
            "from 0 to 1"},
           {"simulation.availability.late_joiners={share: 0.5}",
            "simulation.availability.late_joiners.by_seconds: "},
           {"simulation.availability.online=sometimes",
            "simulation.availability.online: unknown name, found 'sometimes'; allowed: one of "
            "always, markov, trace"},
           {"simulation.speed_changes=[{at_seconds: 5, factor: 0}]",
            "simulation.speed_changes[0].factor: out of range, found 0; allowed: a number above "
            "0, at most 1000000"},
           {"simulation.speed_changes=[{factor: 2}]", "simulation.speed_changes[0].at_seconds: "},
           {"simulation.network={spread: 0.5, trace: n.csv}",
            "simulation.network: found trace and spread 0.5; allowed: one of the two"},
           {"simulation.speed={trace: {}}", "simulation.speed.trace.path: "}}) {
    const absl::Status status = SmallWorld(dir, {set}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << set;
    EXPECT_THAT(std::string(status.message()), HasSubstr(message)) << set;
  }
}

TEST(SimulationFileTest, BadOverridesAreRefused) {
  const TempDir dir;
  for (const char* set : {"job.stop.versions", "job.stop.versions=-1", "simulation.clientz=3",
                          "job.stop.versions=[", "simulation.clients=2"}) {
    const auto file = SmallWorld(dir, {set});
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << set;
  }
  EXPECT_THAT(std::string(SmallWorld(dir, {"simulation.clientz=3"}).status().message()),
              HasSubstr("'clients'"));
  EXPECT_THAT(std::string(SmallWorld(dir, {"simulation.clients=2"}).status().message()),
              HasSubstr("job.scheduler.sync_round.clients_per_round: found 4; allowed: up to "
                        "simulation.clients, which is 2"));
}

TEST(SimulationFileTest, AMissingFileIsNamed) {
  const auto file = ReadSimulationFile("/no/such/file.yaml");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("/no/such/file.yaml"));
}

}  // namespace
}  // namespace tributary
