// Six clients of different speeds, one of them killed and one late, as processes of their own on
// one machine: the compass scheduler makes them arrive together, the job ends, and its record
// replays.

#include <algorithm>
#include <csignal>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/daemon.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::BinaryPath;
using test::Completed;
using test::Daemon;
using test::Exit;
using test::IsOkAndHolds;
using test::Subprocess;
using test::TempDir;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr double kSpread = 0.15;  // of a group's duration; three groups of four keep it

// A fastest client's full order takes one second.
const std::vector<double> kSecondsPerStep = {0.005, 0.007, 0.010, 0.014, 0.020, 0.030};
constexpr size_t kKilled = 2;
constexpr size_t kLate = 3;

constexpr char kJob[] = R"(
job:
  name: speeds
  model: {builtin: {name: logistic}}
  train: {optimizer: {sgd: {learning_rate: 0.05}}, batch_size: 16}
  scheduler:
    compass:
      preset: faithful
      min_local_steps: 20
      max_local_steps: 200
      latest_time_factor: 1.2
      speed_momentum: 0.9
      initial_local_steps: 20
      expected_clients: 6
  liveness_seconds: 2
  keep_updates: true
  stop: {versions: 24}
)";

constexpr char kData[] =
    "{dataset: synthetic, classes: 4, dimensions: 10, train_examples: 1200, test_examples: 300}";

// What the record says of one arrival group.
struct Group {
  int64_t began = 0;             // the first dispatch; nanoseconds, as all times
  size_t orders = 0;             // members
  std::vector<int64_t> arrived;  // when each came
  double Spread() const {
    const auto [first, last] = std::minmax_element(arrived.begin(), arrived.end());
    return static_cast<double>(*last - *first) / static_cast<double>(*last - began);
  }
};

class SpeedsTest : public ::testing::Test {
 protected:
  static std::unique_ptr<Subprocess> Start(const std::vector<std::string>& args) {
    auto started = Subprocess::Start(args);
    EXPECT_THAT(started, test::IsOk());
    return started.ok() ? *std::move(started) : nullptr;
  }

  std::unique_ptr<Subprocess> StartClient(const std::string& id,
                                          const std::vector<std::string>& more) {
    std::vector<std::string> args = {BinaryPath("tributary-client"),
                                     "--server",
                                     daemon_->address(),
                                     "--id",
                                     id,
                                     "--data",
                                     kData};
    args.insert(args.end(), more.begin(), more.end());
    return Start(args);
  }
  std::unique_ptr<Subprocess> StartTrainer(size_t i) {
    return StartClient(absl::StrCat("c", i),
                       {"--throttle", absl::StrCat(kSecondsPerStep[i]), "--partition",
                        absl::StrCat("iid:clients=6,seed=1,index=", i)});
  }

  std::vector<nlohmann::json> ReadEvents() const {
    std::ifstream file(dir_.File("out") + "/events.jsonl");
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  const TempDir dir_;
  const std::unique_ptr<Daemon> daemon_ = Daemon::Start().value();
};

// Groups of several members who all came.
std::vector<Group> WholeGroups(const std::vector<nlohmann::json>& events) {
  std::map<int64_t, Group> groups;
  std::map<int64_t, int64_t> group_of;  // by work order
  for (const auto& line : events) {
    if (line.value("action", "") == "send_work" && line.at("kind") == "train") {
      Group& group = groups[line.at("group")];
      if (group.orders++ == 0) group.began = line.at("at");
      group_of[line.at("work_order")] = line.at("group");
    } else if (line.value("event", "") == "update_arrived") {
      groups[group_of.at(line.at("work_order"))].arrived.push_back(line.at("at"));
    }
  }
  std::vector<Group> whole;
  for (const auto& [id, group] : groups) {
    if (group.orders > 1 && group.arrived.size() == group.orders) whole.push_back(group);
  }
  return whole;
}

TEST_F(SpeedsTest, ClientsOfAllSpeedsArriveTogether) {
  const Completed submitted = daemon_->Tool({"job", "submit", dir_.Write("job.yaml", kJob)});
  ASSERT_EQ(submitted.exit, Exit{.code = 0}) << submitted.err;
  const auto watch = Start(daemon_->ToolCommand({"--json", "job", "watch", "speeds-1"}));
  std::map<size_t, std::unique_ptr<Subprocess>> clients;
  for (size_t i = 0; i < kSecondsPerStep.size(); ++i) {
    if (i != kLate) clients[i] = StartTrainer(i);
  }
  const auto evaluator = StartClient("evaluator", {"--evaluate-only"});

  ASSERT_THAT(watch->WaitForLine("\"updates\":(1\\d|[2-9]\\d)", kPatience), test::IsOk());
  clients[kLate] = StartTrainer(kLate);
  ASSERT_THAT(watch->WaitForLine("\"updates\":([4-9]\\d)", kPatience), test::IsOk());
  clients[kKilled]->Signal(SIGKILL);
  EXPECT_THAT(clients[kKilled]->Wait(kPatience), IsOkAndHolds(Exit{.code = -1, .signal = SIGKILL}));
  EXPECT_THAT(watch->Wait(kPatience), IsOkAndHolds(Exit{.code = 0}));
  clients.erase(kKilled);
  for (const auto& [i, client] : clients) client->Signal(SIGTERM);
  for (const auto& [i, client] : clients) {
    EXPECT_THAT(client->Wait(kPatience), IsOkAndHolds(Exit{.code = 130})) << client->err();
  }

  const Completed exported =
      daemon_->Tool({"job", "export", "speeds-1", "--out", dir_.File("out")});
  ASSERT_EQ(exported.exit, Exit{.code = 0}) << exported.err;
  const auto summary = nlohmann::json::parse(std::ifstream(dir_.File("out") + "/summary.json"));
  EXPECT_GT(summary.at("final").at("accuracy"), 0.6);
  EXPECT_EQ(summary.at("clients").at("count"), 6);

  const std::vector<nlohmann::json> events = ReadEvents();
  std::vector<double> spreads;
  for (const Group& group : WholeGroups(events)) spreads.push_back(group.Spread());
  ASSERT_GE(spreads.size(), 6u);
  std::sort(spreads.begin(), spreads.end());
  EXPECT_LE(spreads[spreads.size() * 3 / 4], kSpread) << ::testing::PrintToString(spreads);
  std::map<std::string, int64_t> applied;
  for (const auto& line : events) {
    if (line.value("action", "") != "publish_version") continue;
    for (const auto& part : line.at("parts")) ++applied[part.at("client")];
  }
  EXPECT_GE(applied[absl::StrCat("c", kLate)], 2);
  EXPECT_GE(applied[absl::StrCat("c", kKilled)], 2);

  const Completed replayed =
      test::RunToEnd({BinaryPath("tributary-sim"), "replay", dir_.File("out")});
  EXPECT_EQ(replayed.exit, Exit{.code = 0}) << replayed.err;
  EXPECT_THAT(replayed.out, HasSubstr(summary.at("model_digest").get<std::string>()));
  EXPECT_THAT(daemon_->Stop(), test::IsOk());
}

}  // namespace
}  // namespace tributary
