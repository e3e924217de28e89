#include "simulator/simulation_spec.h"

#include <string>

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
