// The controller and every scheduler together, under random events: whatever clients do and
// whatever the job's `participation` and `evaluate` say, no decision is one that the controller
// must refuse (that would fail the job), the limits hold, and versions come.
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "schedulers/scheduler_registry.h"
#include "tests/server/coordinator/controller_host.h"

namespace tributary {
namespace {

using ::tributary::test::At;
using ::tributary::test::ControllerHost;
using ::tributary::test::Spec;

constexpr int kClients = 12;
constexpr int kSteps = 4000;

struct Case {
  std::string name;
  nlohmann::json changes;  // of the job
};

// Small groups, so that random events complete many of them.
nlohmann::json Scheduler(const std::string& name) {
  nlohmann::json options = nlohmann::json::object();
  if (name == "sync_round" || name == "deadline") options["clients_per_round"] = 3;
  if (name == "deadline") options["late"] = "fold";
  if (name == "fedbuff") options = {{"goal", 3}, {"max_concurrency", 4}};
  if (name == "fedasync") options = {{"max_concurrency", 4}};
  if (name == "tiered") options = {{"retier_versions", 5}};
  return {{name, std::move(options)}};
}

std::vector<Case> Cases() {
  const nlohmann::json window = {{"from", "00:10"}, {"to", "00:40"}};
  const nlohmann::json window_over_midnight = {{"from", "00:50"}, {"to", "00:05"}};
  const std::vector<Case> hosts = {
      {"free", nlohmann::json::object()},
      {"three_places", {{"participation", {{"max_concurrency", 3}}}}},
      {"rest", {{"participation", {{"min_interval_seconds", 20}}}}},
      {"windows", {{"participation", {{"windows", {window, window_over_midnight}}}}}},
      {"everyone_evaluates", {{"evaluate", {{"by", "everyone"}}}}},
      {"all_at_once",
       {{"evaluate", {{"by", "everyone"}, {"every_versions", 3}}},
        {"participation",
         {{"max_concurrency", 5}, {"min_interval_seconds", 5}, {"windows", {window}}}}}}};
  std::vector<Case> cases;
  for (const auto& entry : SchedulerRegistry().entries()) {
    for (const Case& host : hosts) {
      nlohmann::json changes = host.changes;
      changes["scheduler"] = Scheduler(entry.name);
      if (entry.name != "sync_round") changes["scheduler"]["sync_round"] = nullptr;
      changes["stop"] = {{"versions", 1000000}};
      cases.push_back({absl::StrCat(entry.name, "_", host.name), std::move(changes)});
    }
  }
  return cases;
}

// Clients that ask, answer, fail and leave at random, and a host that takes time to publish.
class RandomRun {
 public:
  RandomRun(const JobSpec& spec, uint64_t seed)
      : host_(spec, /*initial_model=*/true),
        max_places_(spec.participation.max_concurrency),
        rng_(seed) {
    host_.Published(0);
  }

  void Step() {
    now_ += static_cast<double>(rng_.UniformInt(4));
    if (host_.wake && *host_.wake <= At(now_)) host_.Feed(now_, event::TimerFired{});
    const std::string client = absl::StrCat("c", rng_.UniformInt(kClients));
    const std::optional<WorkOrder> order = OrderOf(client);
    if (host_.publications.size() > published_ && rng_.Bernoulli(0.5)) {
      ++published_;
      host_.Published(now_);
    } else if (!asking_.contains(client)) {
      asking_.insert(client);
      host_.CheckIn(now_, client);
    } else if (rng_.Bernoulli(0.05)) {
      asking_.erase(client);
      host_.Feed(now_, event::ClientGone{ClientId(client)});
    } else if (order && rng_.Bernoulli(0.1)) {
      asking_.erase(client);
      host_.Feed(now_, event::WorkFailed{order->id, LossCause::kTimedOut, ""});
    } else if (order && order->kind == WorkKind::kEvaluate) {
      asking_.erase(client);
      host_.Report(now_, order->id, 10, 0.5);
    } else if (order) {
      asking_.erase(client);
      host_.Finish(now_, order->id);
    }
  }

  int64_t Training() const { return static_cast<int64_t>(host_.Out(WorkKind::kTrain).size()); }
  const ControllerHost& host() const { return host_; }
  const std::optional<int64_t>& max_places() const { return max_places_; }

 private:
  std::optional<WorkOrder> OrderOf(const std::string& client) {
    for (; seen_ < host_.sent.size(); ++seen_) newest_[host_.sent[seen_].client] = seen_;
    const auto it = newest_.find(ClientId(client));
    if (it == newest_.end()) return std::nullopt;
    const WorkOrder& order = host_.sent[it->second];
    if (host_.controller->FindWork(order.id) == nullptr) return std::nullopt;
    return order;
  }

  ControllerHost host_;
  const std::optional<int64_t> max_places_;
  Rng rng_;
  double now_ = 0;
  std::set<std::string> asking_;  // have asked for work since they were last heard of
  size_t published_ = 0;
  size_t seen_ = 0;                    // of host_.sent
  std::map<ClientId, size_t> newest_;  // in host_.sent
};

class EverySchedulerTest : public ::testing::TestWithParam<Case> {};

TEST_P(EverySchedulerTest, KeepsTheJobGoing) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    RandomRun run(Spec(GetParam().changes), seed);
    for (int step = 0; step < kSteps; ++step) {
      run.Step();
      ASSERT_EQ(run.host().progress().state, JobState::kRunning)
          << "seed " << seed << ", step " << step << ": " << run.host().progress().reason;
      if (step % 50 != 0) continue;
      ASSERT_LE(run.Training(), run.max_places().value_or(kClients));
    }
    EXPECT_GE(run.host().progress().version, 10) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EverySchedulerTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
