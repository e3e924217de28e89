// What every scheduler promises (schedulers/scheduler.h), over every registry entry: with its
// default options and with those of kOptions, in front of several random fleets.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "schedulers/scheduler_registry.h"
#include "tests/testing/scheduler_driver.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::IsEmpty;
using ::tributary::test::Decisions;
using ::tributary::test::FleetOptions;
using ::tributary::test::IsOk;
using ::tributary::test::Replay;
using ::tributary::test::SchedulerDriver;
using ::tributary::test::StatusIs;

constexpr int64_t kEvents = 3000;
constexpr int64_t kManyEvents = 10000;

struct Case {
  config::Choice choice;
  FleetOptions fleet;
  std::string name;
};

// Option sets beside the defaults, where an entry has choices worth trying.
const std::vector<std::pair<const char*, const char*>> kOptions = {
    {"sync_round", R"({"clients_per_round": 5, "deadline_seconds": 30, "min_reports": 2})"},
    {"sync_round", R"({"clients_per_round": 8, "over_selection": 1.3, "min_available": 12})"},
    {"sync_round", R"({"fraction": 0.4, "min_reports": 3, "min_available": 10})"},
    {"sync_round", R"({"clients_per_round": 6, "on_loss": "close", "min_reports": 5})"},
    {"sync_round", R"({"clients_per_round": 1})"},
    {"compass", R"({"preset": "adaptive"})"},
    {"compass", R"({"min_local_steps": 5, "time_model": "affine", "admission_margin": 1})"},
    {"compass", R"({"min_local_steps": 2, "normalize_steps": true, "weights": "examples"})"},
    {"deadline", R"({"clients_per_round": 8, "deadline_seconds": 5, "late": "fold"})"},
    {"deadline", R"({"fraction": 0.5, "deadline_seconds": 3, "min_reports": 3, "late": "fold"})"},
    {"deadline", R"({"clients_per_round": 6, "over_selection": 2, "deadline_seconds": 8})"},
    {"fedasync", R"({"alpha": 0.9, "staleness": {"hinge": {}}, "mixing": "delta"})"},
    {"fedasync", R"({"max_concurrency": 3, "max_staleness": 2})"},
    {"fedbuff", R"({"goal": 1, "staleness": "constant"})"},
    {"fedbuff", R"({"goal": 5, "max_concurrency": 8})"},
    {"fedbuff", R"({"goal": 7, "max_staleness": 0})"},
    {"tiered", R"({"tiers": 1})"},
    {"tiered", R"({"tiers": 5, "retier_versions": 4})"},
    {"tiered", R"({"tiers": 2, "clients_per_tier_round": 4, "min_available": 20})"},
};

std::vector<Case> Cases() {
  const std::vector<FleetOptions> fleets = {
      {.clients = 40, .seed = 1, .dropout = 0, .departure = 0},
      {.clients = 30, .seed = 2, .dropout = 0.1, .departure = 0.2},
      {.clients = 25,
       .seed = 3,
       .dropout = 0.3,
       .departure = 0.1,
       .held_back = 0.4,
       .slow_publishing = true},
      {.clients = 200, .seed = 4, .dropout = 0.2, .vanishing = 0.05, .slowness = 50}};
  std::vector<config::Choice> choices;
  for (const auto& entry : SchedulerRegistry().entries()) {
    choices.push_back({.name = entry.name, .options = nlohmann::json::object(), .position = {}});
    for (const auto& [name, options] : kOptions) {
      if (entry.name != name) continue;
      choices.push_back({.name = name, .options = nlohmann::json::parse(options), .position = {}});
    }
  }
  std::vector<Case> cases;
  for (size_t c = 0; c < choices.size(); ++c) {
    for (const FleetOptions& fleet : fleets) {
      cases.push_back(
          {choices[c], fleet, absl::StrCat(choices[c].name, "_options", c, "_fleet", fleet.seed)});
    }
  }
  return cases;
}

class SchedulerConformanceTest : public ::testing::TestWithParam<Case> {
 protected:
  static std::unique_ptr<Scheduler> Make(uint64_t seed = 7) {
    auto made = SchedulerRegistry().Create(GetParam().choice, {.rng = Rng(seed)});
    EXPECT_THAT(made, IsOk());
    return *std::move(made);
  }
};

TEST_P(SchedulerConformanceTest, KeepsItsContractAndMakesProgress) {
  const auto scheduler = Make();
  SchedulerDriver driver(GetParam().fleet, *scheduler);
  driver.Run(kManyEvents);
  EXPECT_THAT(driver.violations(), IsEmpty());
  EXPECT_GE(driver.version(), 10);
  EXPECT_GT(driver.closed(), 0);
  EXPECT_LE(driver.closed() + driver.dropped(), driver.accepted());
  const int64_t waiting = driver.accepted() - driver.closed() - driver.dropped();
  EXPECT_LE(waiting, 2 * GetParam().fleet.clients) << "updates are neither used nor dropped";
}

TEST_P(SchedulerConformanceTest, TheSameEventsGiveTheSameDecisions) {
  const auto scheduler = Make(), again = Make();
  SchedulerDriver driver(GetParam().fleet, *scheduler);
  driver.Run(kEvents);
  const size_t all = driver.log().size();
  EXPECT_EQ(Replay(driver.log(), 0, all, *again), Decisions(driver.log(), 0, all));
  EXPECT_EQ(again->Save(), scheduler->Save());
  EXPECT_EQ(again->Stats(), scheduler->Stats());
}

TEST_P(SchedulerConformanceTest, GoesOnAfterSaveAndLoadAsIfNothingHadHappened) {
  const auto scheduler = Make();
  SchedulerDriver driver(GetParam().fleet, *scheduler);
  driver.Run(kEvents);
  const size_t all = driver.log().size();
  const auto first = Make();
  size_t done = 0;
  for (const size_t at : {size_t{0}, size_t{1}, all / 7, all / 3, all / 2, all - 1}) {
    Replay(driver.log(), done, at, *first);
    done = at;
    const std::string saved = first->Save().dump();
    const auto second = Make(99);
    ASSERT_THAT(second->Load(nlohmann::json::parse(saved)), IsOk()) << saved;
    EXPECT_EQ(second->Save().dump(), saved);
    EXPECT_EQ(second->Stats(), first->Stats());
    ASSERT_EQ(Replay(driver.log(), at, all, *second), Decisions(driver.log(), at, all))
        << "after event " << at << ": " << saved;
  }
}

TEST_P(SchedulerConformanceTest, LoadRefusesWhatSaveDidNotWrite) {
  const auto scheduler = Make();
  SchedulerDriver driver(GetParam().fleet, *scheduler);
  driver.Run(kEvents / 10);
  const nlohmann::json good = scheduler->Save();
  std::vector<nlohmann::json> bad = {nlohmann::json(), nlohmann::json::object(),
                                     nlohmann::json::array({1}), "state"};
  ASSERT_TRUE(good.is_object());
  for (const auto& [key, value] : good.items()) {
    bad.push_back(good);
    bad.back().erase(key);
    bad.push_back(good);
    bad.back()[key] = {{"nonsense", true}};
  }
  for (const nlohmann::json& json : bad) {
    EXPECT_THAT(scheduler->Load(json), StatusIs(absl::StatusCode::kDataLoss)) << json;
    ASSERT_EQ(scheduler->Save(), good) << "a refused state must change nothing";
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, SchedulerConformanceTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
