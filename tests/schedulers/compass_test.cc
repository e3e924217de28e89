// FedCompass against two independent oracles, event by event: an exact-rational model of the
// algorithm (testdata/compass_scenarios.txt) and the authors' own scheduler
// (testdata/compass_reference.txt; first orders of max_local_steps, ties in order of dispatch; R06
// ends where a rounding of theirs sends a client elsewhere).
//
// A line of theirs: "120 v4 c1:100/2 c2:40/1" (second, version, client:steps/staleness …),
// "120 c1 creates G2 q100 expected 220 latest 270", "120 c2 joins G1 q74", "520 c2 late".
#include "schedulers/compass.h"

#include <cstdlib>
#include <fstream>
#include <functional>
#include <numeric>
#include <queue>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pointwise;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;

absl::Time At(double seconds) {
  return absl::UnixEpoch() + absl::Nanoseconds(std::llround(seconds * 1e9));
}

std::string Seconds(absl::Time t) {
  std::string text = absl::StrFormat("%.6f", absl::ToDoubleSeconds(t - absl::UnixEpoch()));
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

ClientId Name(int64_t client) { return ClientId(absl::StrCat("c", client)); }

std::unique_ptr<CompassScheduler> Make(const CompassOptions& options) {
  auto made = CompassScheduler::Create(options, {});
  EXPECT_THAT(made, IsOk());
  return *std::move(made);
}

CompassOptions Faithful(double latest_time_factor) {
  return {.latest_time_factor = latest_time_factor};
}

// Plays the clients c1 … cn, which all check in at second 0.
class World {
 public:
  // How long the client's n-th order (0: its first) of so many steps takes; InfiniteDuration:
  // it never comes back.
  using Duration = std::function<absl::Duration(int64_t client, int64_t order, int64_t steps)>;

  World(const CompassOptions& options, int64_t clients, Duration duration,
        bool ties_by_client = true)
      : scheduler_(Make(options)), duration_(std::move(duration)), ties_by_client_(ties_by_client) {
    for (int64_t c = 1; c <= clients; ++c) Tell(At(0), CheckIn{Name(c)});
  }

  void RunUntil(double seconds) {
    while (!queue_.empty() && queue_.top().at <= At(seconds)) {
      const Entry next = queue_.top();
      queue_.pop();
      if (next.is_timer) {
        if (wake_ == next.at) Tell(next.at, TimerFired{});
      } else {
        Tell(next.at, next.update);
      }
    }
  }

  void Tell(absl::Time at, decltype(SchedulerEvent::what) what) {
    const Decision decision = scheduler_->Handle({at, what});
    const auto* update = std::get_if<UpdateAccepted>(&what);
    for (const Dispatch& d : decision.dispatch) {
      if (update != nullptr && update->client == d.client) {
        lines_.push_back(absl::StrCat(Seconds(at), " ", d.client.value(), " late"));
      }
      Dispatched(at, d);
    }
    if (decision.wake_at && decision.wake_at != wake_) {
      wake_ = *decision.wake_at;
      queue_.push({.at = wake_, .is_timer = true, .rank = 0, .update = {}});
    }
    for (const Close& close : decision.close) Closed(at, close);
  }

  const std::vector<std::string>& lines() const { return lines_; }
  const std::vector<Close>& closes() const { return closes_; }
  CompassScheduler& scheduler() { return *scheduler_; }
  Version version() const { return version_; }

 private:
  struct Entry {
    absl::Time at;
    bool is_timer = false;
    int64_t rank = 0;
    UpdateAccepted update;
    bool operator<(const Entry& other) const {  // the queue's top is the largest
      return std::tie(at, is_timer, rank) > std::tie(other.at, other.is_timer, other.rank);
    }
  };

  void Dispatched(absl::Time at, const Dispatch& d) {
    int64_t client = 0;
    ASSERT_TRUE(absl::SimpleAtoi(d.client.value().substr(1), &client));
    const int64_t order = orders_[d.client]++;
    if (order > 0) {
      const auto [group, is_new] = groups_.try_emplace(d.group, groups_.size());
      const std::string start = absl::StrCat(Seconds(at), " ", d.client.value());
      lines_.push_back(is_new
                           ? absl::StrCat(start, " creates G", group->second, " q", *d.local_steps,
                                          " expected ", Seconds(*d.expected_at), " latest ",
                                          Seconds(d.deadline))
                           : absl::StrCat(start, " joins G", group->second, " q", *d.local_steps));
    }
    const absl::Duration takes = duration_(client, order, *d.local_steps);
    const WorkOrderId id = next_order_++;
    sent_[id] = {d.client, *d.local_steps, version_};
    if (takes == absl::InfiniteDuration()) return;
    queue_.push({.at = at + takes,
                 .is_timer = false,
                 .rank = ties_by_client_ ? client : id,
                 .update = {.client = d.client,
                            .work_order = id,
                            .group = d.group,
                            .dispatched_at = at,
                            .arrived_at = at + takes,
                            .local_steps = *d.local_steps,
                            .num_examples = 1,
                            .base_version = version_,
                            .available = true}});
  }

  void Closed(absl::Time at, const Close& close) {
    std::vector<std::tuple<std::string, int64_t, int64_t>> parts;
    for (const WorkOrderId id : close.updates) {
      const Sent& sent = sent_.at(id);
      parts.emplace_back(sent.client.value(), sent.steps, version_ - sent.base);
    }
    std::sort(parts.begin(), parts.end());
    ++version_;
    std::string line = absl::StrCat(Seconds(at), " v", version_);
    for (const auto& [client, steps, staleness] : parts) {
      absl::StrAppend(&line, " ", client, ":", steps, "/", staleness);
    }
    lines_.push_back(line);
    closes_.push_back(close);
    Tell(at, Published{close.group, version_});
  }

  struct Sent {
    ClientId client;
    int64_t steps = 0;
    Version base = 0;
  };
  std::unique_ptr<CompassScheduler> scheduler_;
  Duration duration_;
  const bool ties_by_client_;
  std::priority_queue<Entry> queue_;
  absl::Time wake_ = absl::InfiniteFuture();
  std::map<ClientId, int64_t> orders_;
  std::map<GroupId, size_t> groups_;
  std::map<WorkOrderId, Sent> sent_;
  WorkOrderId next_order_ = 1;
  Version version_ = 0;
  std::vector<std::string> lines_;
  std::vector<Close> closes_;
};

// The lines below "## name".
std::vector<std::string> Expected(const std::string& file, const std::string& name) {
  std::ifstream in(
      absl::StrCat(std::getenv("TRIBUTARY_SOURCE_DIR"), "/tests/schedulers/testdata/", file));
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(in, line);) {
    if (absl::StartsWith(line, "## ")) {
      inside = line == "## " + name;
    } else if (inside) {
      lines.push_back(line);
    }
  }
  EXPECT_THAT(lines, Not(IsEmpty())) << file << " has no " << name;
  return lines;
}

World::Duration PerStep(std::vector<double> seconds) {
  return [seconds](int64_t client, int64_t, int64_t steps) {
    return absl::Seconds(seconds[static_cast<size_t>(client - 1)]) * steps;
  };
}

struct Scenario {
  std::string name;
  double until;
  CompassOptions options;
  int64_t clients;
  World::Duration duration;
};
void PrintTo(const Scenario& scenario, std::ostream* out) { *out << scenario.name; }

// ---- the exact model -------------------------------------------------------------------

class CompassScenarioTest : public ::testing::TestWithParam<Scenario> {};

TEST_P(CompassScenarioTest, DecidesAsTheExactModel) {
  const Scenario& s = GetParam();
  World world(s.options, s.clients, s.duration);
  world.RunUntil(s.until);
  EXPECT_THAT(world.lines(), ElementsAreArray(Expected("compass_scenarios.txt", s.name)));
}

// c2's second order takes this long instead of 2 seconds a step.
World::Duration SecondOrderOfC2(absl::Duration takes) {
  return [takes](int64_t client, int64_t order, int64_t steps) {
    return client == 2 && order == 1 ? takes : absl::Seconds(client) * steps;
  };
}

std::vector<Scenario> Scenarios() {
  const CompassOptions half = Faithful(1.5), fifth = Faithful(1.2);
  CompassOptions beyond = fifth, first_full = half, slow_learner = half, equal = Faithful(1);
  beyond.join_limit = 120;
  first_full.initial_local_steps = 100;
  slow_learner.speed_momentum = 0.5;
  return {
      {"A", 480, half, 3, PerStep({1, 2, 4})},
      {"A1", 480, fifth, 3, PerStep({1, 2, 4})},
      {"A2", 480, beyond, 3, PerStep({1, 2, 4})},
      {"AQmax", 1200, first_full, 3, PerStep({1, 2, 4})},
      {"B", 1200, half, 2, PerStep({1, 10})},
      {"C", 2300, half, 2, PerStep({1, 50})},
      {"D", 800, half, 2, SecondOrderOfC2(absl::Seconds(480))},
      {"E", 500, half, 2, SecondOrderOfC2(absl::InfiniteDuration())},
      {"F", 300, half, 2, SecondOrderOfC2(absl::Seconds(130))},
      {"F1", 300, half, 2, SecondOrderOfC2(absl::Seconds(130) + absl::Nanoseconds(1))},
      {"G", 6500, fifth, 5, PerStep({12, 14, 25, 48, 60})},
      {"H", 220, equal, 2,
       [](int64_t client, int64_t order, int64_t steps) {
         return absl::Milliseconds(client == 1 ? 1000 : order == 0 ? 2000 : 2020) * steps;
       }},
      {"I", 360, half, 2,
       [](int64_t client, int64_t order, int64_t steps) {
         return absl::Seconds(client == 1 && order > 0 ? 1 : 2 * client) * steps;
       }},
      {"J", 400, half, 1,
       [](int64_t, int64_t order, int64_t steps) {
         return absl::Seconds(order == 1 ? 2 : 1) * steps;
       }},
      {"K", 300, slow_learner, 2,
       [](int64_t client, int64_t order, int64_t steps) {
         return absl::Seconds(client == 2 && order == 1 ? 4 : client) * steps;
       }},
  };
}

INSTANTIATE_TEST_SUITE_P(Scenarios, CompassScenarioTest, ::testing::ValuesIn(Scenarios()),
                         [](const auto& test) { return test.param.name; });

// ---- the authors' scheduler ------------------------------------------------------------

// Theirs computes in doubles: where a quotient is an integer, it may come out one step short.
bool IsStepsOfOneMore(const std::string& ours, const std::string& theirs) {
  const auto steps = [](absl::string_view word) {
    int64_t n = -1;
    if (absl::ConsumePrefix(&word, "q")) return absl::SimpleAtoi(word, &n) ? n : -1;
    const std::vector<absl::string_view> parts = absl::StrSplit(word, absl::ByAnyChar(":/"));
    return parts.size() == 3 && absl::SimpleAtoi(parts[1], &n) ? n : -1;
  };
  return steps(theirs) > 0 && steps(ours) == steps(theirs) + 1;
}

MATCHER(AlikeButForARounding, "") {
  const std::vector<std::string> ours = absl::StrSplit(std::get<0>(arg), ' ');
  const std::vector<std::string> theirs = absl::StrSplit(std::get<1>(arg), ' ');
  if (ours.size() != theirs.size()) return false;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i] != theirs[i] && !IsStepsOfOneMore(ours[i], theirs[i])) return false;
  }
  return true;
}

class CompassReferenceTest : public ::testing::TestWithParam<Scenario> {};

TEST_P(CompassReferenceTest, DecidesAsTheAuthorsScheduler) {
  const Scenario& s = GetParam();
  World world(s.options, s.clients, s.duration, /*ties_by_client=*/false);
  world.RunUntil(s.until);
  EXPECT_THAT(world.lines(),
              Pointwise(AlikeButForARounding(), Expected("compass_reference.txt", s.name)));
}

CompassOptions Reference(int64_t min_steps, int64_t max_steps, double latest, double momentum) {
  return {.min_local_steps = min_steps,
          .max_local_steps = max_steps,
          .initial_local_steps = max_steps,
          .latest_time_factor = latest,
          .speed_momentum = momentum};
}

std::vector<Scenario> References() {
  return {
      {"R01", 60, Reference(16, 64, 1.5, 1), 2, PerStep({0.125, 0.125})},
      {"R02", 80, Reference(16, 64, 1.5, 1), 5, PerStep({0.03125, 0.0625, 0.09375, 0.125, 0.25})},
      {"R03", 200, Reference(20, 100, 1.5, 0.9), 5, PerStep({0.05, 0.07, 0.11, 0.13, 0.29})},
      {"R04", 150, Reference(20, 100, 1.5, 0.9), 3,
       [](int64_t client, int64_t order, int64_t steps) {
         const double seconds[] = {0.05, 0.06, order == 2 ? 0.4 : 0.1};
         return absl::Seconds(seconds[client - 1]) * steps;
       }},
      {"R05", 120, Reference(20, 100, 1.5, 0.9), 3,
       [](int64_t client, int64_t order, int64_t steps) {
         const double seconds[] = {0.05, 0.08, 0.1};
         return client == 2 && order == 2 ? absl::InfiniteDuration()
                                          : absl::Seconds(seconds[client - 1]) * steps;
       }},
      {"R06", 37.9, Reference(20, 100, 1.5, 0.9), 3, PerStep({0.02, 0.02, 0.32})},
      {"R07", 60, Reference(16, 64, 1.0, 1), 3, PerStep({0.0625, 0.125, 0.1875})},
  };
}

INSTANTIATE_TEST_SUITE_P(References, CompassReferenceTest, ::testing::ValuesIn(References()),
                         [](const auto& test) { return test.param.name; });

// ---- ASSIGN ------------------------------------------------------------------------------

struct OpenGroup {
  double expected, latest, fastest;  // seconds; of its fastest member, a step
  bool open = true;
};

TaskTime SecondsPerStep(double seconds) {
  TaskTime time;
  time.Observe(absl::Seconds(seconds), 1, {});
  return time;
}

// What a client with these task times gets at second `now` beside these groups.
Dispatch Assigned(const CompassOptions& options, const std::vector<OpenGroup>& groups, double now,
                  const TaskTime& newcomer) {
  const auto scheduler = Make(options);
  nlohmann::json state = scheduler->Save();
  const auto client = [](const TaskTime& time, const char* place, GroupId group) {
    return nlohmann::json{{"place", place == std::string("working") ? 2 : 0},
                          {"group", group},
                          {"available", false},
                          {"time", time},
                          {"updates", 1},
                          {"examples", 1}};
  };
  nlohmann::json members = nlohmann::json::array(), open = nlohmann::json::array();
  GroupId id = 1;
  for (const OpenGroup& g : groups) {
    const std::string member = absl::StrCat("member", id);
    members.push_back({member, client(SecondsPerStep(g.fastest), "working", id)});
    open.push_back({id,
                    {{"waiting", 1},
                     {"arrived", nlohmann::json::array()},
                     {"updates", nlohmann::json::array()},
                     {"full_tasks", {std::llround(g.fastest * 1e9) * options.max_local_steps}},
                     {"open", g.open},
                     {"first", false},
                     {"timed", true},
                     {"expected_at", absl::ToUnixNanos(At(g.expected))},
                     {"latest_at", absl::ToUnixNanos(At(g.latest))}}});
    ++id;
  }
  members.push_back({"newcomer", client(newcomer, "away", 0)});
  state["clients"] = members;
  state["groups"] = open;
  state["next_group"] = id;
  state["present"] = groups.size();
  state["updates"] = state["reporters"] = state["examples"] = groups.size();
  EXPECT_THAT(scheduler->Load(state), IsOk());
  const Decision decision = scheduler->Handle({At(now), CheckIn{ClientId("newcomer")}});
  EXPECT_EQ(decision.dispatch.size(), 1);
  return decision.dispatch.at(0);
}
Dispatch Assigned(const CompassOptions& options, const std::vector<OpenGroup>& groups, double now,
                  double step) {
  return Assigned(options, groups, now, SecondsPerStep(step));
}

struct AssignCase {
  const char* what;
  double step;
  GroupId group;  // 3: a new one
  int64_t steps;
  double latest;
};

TEST(CompassAssignTest, JoinsWithMostStepsElseAimsAtTheNextMeeting) {
  const std::vector<OpenGroup> groups = {{120, 170, 1}, {268, 362, 4}};
  const AssignCase cases[] = {
      {"too slow to join, creates with the larger of 17 and 87", 7, 3, 87, 1063.5},
      {"joins", 2, 2, 59, 362},
      {"too fast to join, and aims beyond Qmax everywhere", 1, 3, 100, 300},
      {"joins with exactly Qmin", 5.9, 2, 20, 362},
      {"joins with exactly Qmax", 1.18, 2, 100, 362},
      {"one step above Qmax is no join", 1.16, 3, 100, 324},
  };
  for (const AssignCase& c : cases) {
    const Dispatch got = Assigned(Faithful(1.5), groups, 150, c.step);
    EXPECT_EQ(got.group, c.group) << c.what;
    EXPECT_EQ(got.local_steps, c.steps) << c.what;
    EXPECT_EQ(got.deadline, At(c.latest)) << c.what;
  }
}

TEST(CompassAssignTest, OnEqualStepsTheLaterGroupWins) {
  EXPECT_EQ(Assigned(Faithful(1.5), {{268, 362, 4}, {268, 400, 4}}, 150, 2).group, 2);
}

TEST(CompassAssignTest, JoinsTheGroupThatGivesMoreSteps) {
  CompassOptions options = Faithful(1.5);
  options.min_local_steps = 40;
  options.max_local_steps = 200;
  const Dispatch got = Assigned(options, {{10, 15, 0.1}, {15, 22, 0.1}}, 0, 0.1);
  EXPECT_EQ(got.group, 2);
  EXPECT_EQ(got.local_steps, 150);
}

TEST(CompassAssignTest, ClosedGroupsAreInvisible) {
  const Dispatch got = Assigned(Faithful(1.5), {{268, 362, 4, false}}, 150, 2);
  EXPECT_EQ(got.group, 2);
  EXPECT_EQ(got.local_steps, 100);
}

TEST(CompassAssignTest, AGroupAtItsDeadlineIsNoAim) {
  EXPECT_EQ(Assigned(Faithful(1.5), {{120, 150, 1}}, 150, 20).local_steps, 100);
  EXPECT_EQ(Assigned(Faithful(1.5), {{120, 150.1, 1}}, 150, 20).local_steps, 20) << "5, clipped";
}

TEST(CompassAssignTest, TheMarginLeavesTimeForJitter) {
  CompassOptions options = Faithful(1.05);
  options.admission_margin = 2;
  // No deviation was seen yet: the deadline alone counts.
  EXPECT_EQ(Assigned(options, {{268, 280, 4}}, 150, 2).local_steps, 59);
  // 10 % off, so 2.18 s a step, of which 118 s hold 54; but 130 s / (1 + 2 · 0.1) hold 49.
  TaskTime erratic;
  erratic.Observe(absl::Seconds(2), 1, {});
  erratic.Observe(absl::Milliseconds(2200), 1, {});
  EXPECT_EQ(Assigned(options, {{268, 280, 4}}, 150, erratic).local_steps, 49);
  EXPECT_EQ(Assigned(Faithful(1.05), {{268, 280, 4}}, 150, erratic).local_steps, 54);
}

TEST(CompassAssignTest, AFastClientMayJoinTheNearestGroupAndWait) {
  CompassOptions options = Faithful(1.5);
  options.fast_join = "idle";
  const Dispatch got = Assigned(options, {{300, 450, 4}, {268, 362, 4}, {400, 600, 4}}, 150, 1);
  EXPECT_EQ(got.group, 2);
  EXPECT_EQ(got.local_steps, 100);
  EXPECT_EQ(got.expected_at, At(250));
}

TEST(CompassAssignTest, AutomaticBoundsFollowTheSpeedRatio) {
  CompassOptions options = Faithful(1.5);
  options.bounds = "auto";
  // 25 times slower than the fastest: 100 · 1/25 = 4 steps are enough to join.
  const Dispatch got = Assigned(options, {{268, 362, 1}}, 150, 25);
  EXPECT_EQ(got.group, 1);
  EXPECT_EQ(got.local_steps, 4);
}

// ---- steady state -------------------------------------------------------------------------

// The last six lines: a version of all five clients without staleness, and five that start anew.
void ExpectOneGroup(const std::vector<std::string>& lines) {
  ASSERT_GE(lines.size(), 6);
  const std::vector<absl::string_view> version = absl::StrSplit(lines[lines.size() - 6], ' ');
  ASSERT_EQ(version.size(), 7) << lines[lines.size() - 6];
  for (size_t i = 2; i < 7; ++i) EXPECT_TRUE(absl::EndsWith(version[i], "/0")) << version[i];
}

// If the slowest client can do min_local_steps while the fastest does max_local_steps, all end in
// one group without staleness, whoever is called what.
TEST(CompassSteadyStateTest, OneGroupWhenTheBoundsCoverTheSpeedRatio) {
  std::vector<double> speeds = {1, 1.7, 2.3, 3.1, 4.9};
  do {
    World world(Faithful(1.2), 5, PerStep(speeds));
    world.RunUntil(20'000);  // it may take a while: two groups meet when their times match
    ExpectOneGroup(world.lines());
  } while (std::next_permutation(speeds.begin(), speeds.end()));
}

// The same with fixed costs. The client with the quickest step is not the one that is first done
// with a full task.
TEST(CompassSteadyStateTest, AffineOneGroupWhateverTheFixedCosts) {
  std::vector<std::pair<double, double>> times = {{0, 0.9}, {5, 3}, {10, 2}, {30, 1}, {60, 0.5}};
  CompassOptions options = Faithful(1.2);
  options.time_model = "affine";
  do {
    World world(options, 5, [&](int64_t client, int64_t, int64_t steps) {
      const auto [fixed, step] = times[static_cast<size_t>(client - 1)];
      return absl::Seconds(fixed) + absl::Seconds(step) * steps;
    });
    world.RunUntil(20'000);
    ExpectOneGroup(world.lines());
  } while (std::next_permutation(times.begin(), times.end()));
}

// ---- what a late update is worth, and vanishing --------------------------------------------

TEST(CompassTest, AVanishedMemberIsForgottenAndItsGroupReaped) {
  World world(Faithful(1.5), 2, SecondOrderOfC2(absl::InfiniteDuration()));
  world.RunUntil(300);
  EXPECT_THAT(world.scheduler().Save()["groups"].size(), 2)
      << "the closed one awaits its straggler";
  world.Tell(At(320), WorkLost{Name(2), 4, 3});
  const nlohmann::json state = world.scheduler().Save();
  EXPECT_EQ(state["groups"].size(), 1);
  EXPECT_EQ(state["present"], 1);
  EXPECT_EQ(world.scheduler().Stats()["lost"], 1);
  // It comes back as a newcomer: its first order again.
  const Decision decision = world.scheduler().Handle({At(330), CheckIn{Name(2)}});
  ASSERT_EQ(decision.dispatch.size(), 1);
  EXPECT_EQ(decision.dispatch[0].local_steps, 20);
  EXPECT_EQ(decision.dispatch[0].deadline, absl::InfiniteFuture());
}

TEST(CompassTest, LosingTheLastMissingMemberClosesTheGroup) {
  World world(Faithful(1.5), 2, SecondOrderOfC2(absl::InfiniteDuration()));
  world.RunUntil(130);  // c1 has arrived and waits
  ASSERT_EQ(world.version(), 2);
  world.Tell(At(140), WorkLost{Name(2), 4, 3});
  EXPECT_EQ(world.version(), 3);
  EXPECT_THAT(world.lines(), Contains("140 v3 c1:100/1"));
}

TEST(CompassTest, ALateUpdateOfALostClientStillCounts) {
  World world(Faithful(1.5), 2, [](int64_t client, int64_t order, int64_t steps) {
    if (client == 1) return absl::Seconds(1) * steps;
    return order == 0   ? absl::Seconds(40)
           : order == 1 ? absl::Seconds(480)
                        : absl::InfiniteDuration();
  });
  world.RunUntil(560);  // c2's late update waits; its next order is out
  const auto late = world.scheduler().Save()["late"];
  ASSERT_EQ(late.size(), 1);
  world.Tell(At(565), WorkLost{Name(2), 100, world.scheduler().Save()["clients"][1][1]["group"]});
  world.RunUntil(570);
  EXPECT_THAT(world.lines(), Contains("570 v7 c1:100/0 c2:40/4"));
}

TEST(CompassTest, AClientThatIsLostAfterItsUpdateArrivedIsNotCountedAgain) {
  World world(Faithful(1.5), 2, SecondOrderOfC2(absl::InfiniteDuration()));
  world.RunUntil(130);  // c1 has arrived and waits for c2
  world.Tell(At(131), CheckOut{Name(1)});
  world.Tell(At(132), CheckIn{Name(1)});  // and is given other work
  const auto group_of = [&](size_t i) {
    return world.scheduler().Save()["clients"][i][1]["group"].get<GroupId>();
  };
  world.Tell(At(135), WorkLost{Name(1), 100, group_of(0)});
  ASSERT_EQ(world.version(), 2);
  world.Tell(At(140), WorkLost{Name(2), 4, group_of(0)});
  EXPECT_THAT(world.lines(), Contains("140 v3 c1:100/1"));
  EXPECT_THAT(world.scheduler().Save()["clients"], IsEmpty());
}

// ---- coefficients ------------------------------------------------------------------------

// w0 = 0 and every delta is 1: U of each version in scenario A, α 0.9, m 3, s(τ) = (1+τ)^-1/2.
TEST(CompassCoefficientsTest, AreTheTableOfScenarioA) {
  World world(Faithful(1.5), 3, PerStep({1, 2, 4}));
  world.RunUntil(368);
  std::vector<double> sums;
  for (const Close& close : world.closes()) {
    sums.push_back(std::accumulate(close.coefficients.begin(), close.coefficients.end(), 0.0));
  }
  EXPECT_THAT(sums, Pointwise(testing::DoubleNear(5e-7),
                              {0.3, 0.212132, 0.173205, 0.385337, 0.3, 0.685337, 0.9}));
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(world.closes()[i].beside_momentum, i < 3) << "first updates leave momentum alone";
    EXPECT_FALSE(world.closes()[i].mix_models);
  }
}

// Q_eff = 56.333333: deltas of q_u steps move by 38.607324, deltas of 1 by 0.721172.
TEST(CompassCoefficientsTest, NormalizedAreFedNovas) {
  CompassOptions options = Faithful(1.5);
  options.normalize_steps = true;
  World world(options, 3, PerStep({1, 2, 4}));
  world.RunUntil(268);
  const Close& close = world.closes()[5];
  ASSERT_EQ(close.coefficients.size(), 3);
  // By work order: c3 (47 steps, staleness 2), c2 (74, 1), c1 (48, 0).
  const double steps[] = {47, 74, 48};
  double by_steps = 0, by_one = 0;
  for (size_t i = 0; i < 3; ++i) {
    by_steps += close.coefficients[i] * steps[i];
    by_one += close.coefficients[i];
  }
  EXPECT_NEAR(by_steps, 38.607324, 5e-7);
  EXPECT_NEAR(by_one, 0.721172, 5e-7);
  EXPECT_NEAR(world.closes()[0].coefficients[0], 0.3, 1e-12) << "first updates are plain";
}

TEST(CompassCoefficientsTest, FewerClientsThanExpectedDoNotWeighMore) {
  CompassOptions options = Faithful(1.5);
  options.expected_clients = 9;
  World world(options, 3, PerStep({1, 2, 4}));
  world.RunUntil(20);
  EXPECT_THAT(world.closes().at(0).coefficients, ElementsAre(DoubleNear(0.1, 1e-12)));
}

TEST(CompassCoefficientsTest, WhoReportsOftenCountsLess) {
  CompassOptions options = Faithful(1.5);
  options.participation = "frequency";
  options.participation_cap = 1.5;
  World world(options, 2, PerStep({1, 50}));
  world.RunUntil(2000);
  // At 2000: c1's 20th update and c2's 2nd, staleness 0 and 10; 11 updates a client on average.
  const Close& close = world.closes().back();
  ASSERT_EQ(world.lines().at(world.lines().size() - 3), "2000 v22 c1:80/0 c2:20/10");
  const double rare = 0.9 / 2 * 1.5 / std::sqrt(11.0);
  const auto c1_updates = static_cast<double>(world.version() - 1);
  const double frequent = 0.9 / 2 * ((c1_updates + 2) / 2) / c1_updates;
  EXPECT_THAT(close.coefficients,
              testing::UnorderedElementsAre(DoubleNear(rare, 1e-12), DoubleNear(frequent, 1e-12)));
}

// ---- options -----------------------------------------------------------------------------

struct BadOptions {
  CompassOptions options;
  std::string message;
};

TEST(CompassOptionsTest, ContradictionsAreRefusedByName) {
  const BadOptions cases[] = {
      {{.min_local_steps = 101}, "min_local_steps is 101; allowed are 1 to max_local_steps, 100"},
      {{.max_local_steps = 10, .initial_local_steps = 20},
       "initial_local_steps is 20; allowed are 1 to max_local_steps, 10"},
      {{.join_limit = 50}, "join_limit is 50; allowed are max_local_steps, 100, and more"},
      {{.participation_cap = 3},
       "participation_cap is set, but participation is uniform; allowed with frequency only"},
  };
  for (const BadOptions& bad : cases) {
    EXPECT_THAT(CompassScheduler::Create(bad.options, {}).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, bad.message));
  }
}

TEST(CompassOptionsTest, TheMinimumYieldsToASmallMaximum) {
  EXPECT_EQ(Resolve({.max_local_steps = 8}).min_steps, 8);
  EXPECT_EQ(Resolve({.max_local_steps = 8}).first_steps, 8);
}

TEST(CompassOptionsTest, PresetsOnlyFillWhatIsAbsent) {
  const ResolvedCompassOptions faithful = Resolve({});
  EXPECT_EQ(faithful.min_steps, 20);
  EXPECT_EQ(faithful.mixing_rate, 0.9);
  EXPECT_FALSE(faithful.auto_bounds || faithful.first_group || faithful.fast_idles ||
               faithful.participation_cap);
  const ResolvedCompassOptions adaptive = Resolve({.preset = "adaptive", .bounds = "fixed"});
  EXPECT_FALSE(adaptive.auto_bounds);
  EXPECT_TRUE(adaptive.first_group);
}

TEST(CompassStatsTest, WarnsWhenSpeedsDifferByMoreThanTheBoundsAllow) {
  World close_enough(Faithful(1.5), 2, PerStep({1, 5}));
  close_enough.RunUntil(500);
  EXPECT_THAT(close_enough.scheduler().Stats()["warnings"], IsEmpty());
  World too_far(Faithful(1.5), 2, PerStep({1, 8}));
  too_far.RunUntil(500);
  EXPECT_NEAR(too_far.scheduler().Stats()["speed_ratio"], 8, 1e-9);
  EXPECT_THAT(too_far.scheduler().Stats()["warnings"].dump(),
              testing::HasSubstr("takes 8.0 times as long for a full order as the fastest, and "
                                 "max_local_steps / min_local_steps is 5.0"));
}

}  // namespace
}  // namespace tributary
