// What holds of FedCompass on every fleet: random ones with drop-outs, departures and vanishing
// clients, in front of the driver that checks the scheduler's contract; and quiet ones, which
// end in one group.
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "schedulers/compass.h"
#include "tests/testing/scheduler_driver.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::IsEmpty;
using ::tributary::test::FleetOptions;
using ::tributary::test::IsOk;
using ::tributary::test::SchedulerDriver;

struct Case {
  std::string name;
  CompassOptions options;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> Cases() {
  CompassOptions adaptive{.preset = "adaptive"};
  CompassOptions narrow{.min_local_steps = 50, .max_local_steps = 50};
  CompassOptions beyond{.min_local_steps = 5, .join_limit = 150, .latest_time_factor = 1};
  CompassOptions affine{.min_local_steps = 5, .time_model = "affine", .admission_margin = 2};
  CompassOptions normalized{
      .min_local_steps = 1, .normalize_steps = true, .participation = "frequency"};
  CompassOptions floored{.preset = "adaptive", .lowest_local_steps = 10};
  return {{"faithful", {}},   {"adaptive", adaptive},     {"narrow", narrow},  {"beyond", beyond},
          {"affine", affine}, {"normalized", normalized}, {"floored", floored}};
}

class CompassPropertyTest : public ::testing::TestWithParam<Case> {
 protected:
  static std::unique_ptr<CompassScheduler> Make() {
    auto made = CompassScheduler::Create(GetParam().options, {});
    EXPECT_THAT(made, IsOk());
    return *std::move(made);
  }
};

TEST_P(CompassPropertyTest, HoldsItsBoundsOverTenThousandRandomEvents) {
  const ResolvedCompassOptions o = Resolve(GetParam().options);
  const int64_t least = std::min(o.auto_bounds ? o.lowest_steps : o.min_steps, o.first_steps);
  const FleetOptions fleets[] = {
      {.clients = 20, .seed = 1, .dropout = 0, .departure = 0, .slowness = 4},
      {.clients = 30,
       .seed = 2,
       .dropout = 0.1,
       .departure = 0.2,
       .vanishing = 0.02,
       .slowness = 60},
      {.clients = 50, .seed = 3, .dropout = 0.3, .departure = 0.1, .slow_publishing = true}};
  for (const FleetOptions& fleet : fleets) {
    const auto scheduler = Make();
    SchedulerDriver driver(fleet, *scheduler);
    driver.Run(10'000);
    EXPECT_THAT(driver.violations(), IsEmpty()) << "fleet " << fleet.seed;
    EXPECT_GT(driver.version(), 50) << "fleet " << fleet.seed;
    for (const auto& [event, decision] : driver.log()) {
      for (const Dispatch& d : decision.dispatch) {
        ASSERT_GE(d.local_steps.value(), least);
        ASSERT_LE(d.local_steps.value(), o.join_limit);
        ASSERT_LE(d.expected_at.value_or(event.at), d.deadline);
      }
    }
  }
}

// Nothing is closed twice (the driver sees to that), and nothing is kept for ever: what was
// accepted and not closed waits in an open group or among the late.
TEST_P(CompassPropertyTest, EveryAcceptedUpdateIsClosedOrWaits) {
  const auto scheduler = Make();
  SchedulerDriver driver({.clients = 40, .seed = 4, .dropout = 0.15, .departure = 0.1}, *scheduler);
  driver.Run(10'000);
  const nlohmann::json state = scheduler->Save();
  int64_t waiting = static_cast<int64_t>(state["late"].size());
  for (const auto& group : state["groups"])
    waiting += static_cast<int64_t>(group[1]["updates"].size());
  EXPECT_EQ(driver.accepted(), driver.closed() + driver.dropped() + waiting);
}

INSTANTIATE_TEST_SUITE_P(Options, CompassPropertyTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
