// The clients' side of a run, on events.jsonl of runs without training.
#include "simulator/virtual_clients.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>
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
#include "simulator/experiment.h"
#include "simulator/null_workload.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A line of events.jsonl, as far as these tests look at it.
struct Line {
  double at = 0;  // virtual seconds
  std::string what;
  nlohmann::json json;
};

class VirtualClientsTest : public ::testing::Test {
 protected:
  // Eight clients, steps of half a second, five to an order; all of them in each round, which
  // goes on without those that are lost, unless `set` says otherwise.
  void Run(std::vector<std::string> set) {
    set.insert(set.begin(),
               "job.scheduler={sync_round: {clients_per_round: 8, min_reports: 1, "
               "min_available: 1, deadline_seconds: 1000, on_loss: close}}");
    auto file = test::SmallWorld(dir_, std::move(set));
    ASSERT_THAT(file, IsOk());
    const JobSpec job = file->job;
    TRIB_ASSERT_OK_AND_ASSIGN(auto workload, NullWorkload::Create(job));
    if (wrap_) workload = wrap_(std::move(workload));
    TRIB_ASSERT_OK_AND_ASSIGN(experiment_,
                              Experiment::Create(*std::move(file), std::move(workload), {}));
    TRIB_ASSERT_OK_AND_ASSIGN(auto log, RunLog::Create(dir_.File("out"), job));
    status_ = experiment_->Run(log.get());
    log.reset();
    lines_.clear();
    std::ifstream events(dir_.File("out/events.jsonl"));
    std::string text;
    std::getline(events, text);  // the job
    while (std::getline(events, text)) {
      const nlohmann::json json = nlohmann::json::parse(text);
      lines_.push_back({1e-9 * static_cast<double>(json.at("at").get<int64_t>()),
                        json.contains("event") ? json["event"] : json["action"], json});
    }
  }

  std::vector<Line> Of(const std::string& what) const {
    std::vector<Line> found;
    std::ranges::copy_if(lines_, std::back_inserter(found),
                         [&](const Line& line) { return line.what == what; });
    return found;
  }

  // What the coordinator was told of a client: "time event".
  std::vector<std::string> ToldOf(const std::string& client) const {
    std::map<int64_t, std::string> owners;
    std::vector<std::string> told;
    for (const Line& line : lines_) {
      if (line.what == "send_work") {
        owners[line.json["work_order"].get<int64_t>()] = line.json["client"];
      }
      if (!line.json.contains("event")) continue;
      const bool its = line.json.contains("client")
                           ? line.json["client"] == client
                           : line.json.contains("work_order") &&
                                 owners[line.json["work_order"].get<int64_t>()] == client;
      if (its) told.push_back(absl::StrCat(line.at, " ", line.what));
    }
    return told;
  }

  const test::TempDir dir_;
  std::function<std::unique_ptr<Workload>(std::unique_ptr<Workload>)> wrap_;
  std::unique_ptr<Experiment> experiment_;
  absl::Status status_;
  std::vector<Line> lines_;
};

TEST_F(VirtualClientsTest, WithoutTrainingTheModelStaysAndEverythingIsCounted) {
  Run({});
  ASSERT_THAT(status_, IsOk());
  const RunSummary summary = experiment_->Summary();
  EXPECT_EQ(summary.progress.version, 6);
  EXPECT_EQ(summary.progress.updates, 6 * 8);
  EXPECT_EQ(summary.progress.client_steps, 6 * 8 * 5);
  EXPECT_EQ(summary.virtual_seconds, 6 * 2.5);
  EXPECT_EQ(summary.utilisation, 1);
  EXPECT_EQ(experiment_->Model()->values()[0], 0);
}

// Another workload, of which something is to be changed.
class WrappedWorkload : public Workload {
 public:
  explicit WrappedWorkload(std::unique_ptr<Workload> inner) : inner_(std::move(inner)) {}

  int64_t Examples(int64_t client, int64_t task) const override {
    return inner_->Examples(client, task);
  }
  int64_t TrainFlopsPerExample() const override { return inner_->TrainFlopsPerExample(); }
  absl::Status CheckModel(const ParamVector& model) const override {
    return inner_->CheckModel(model);
  }
  Pending<ParamVector> MakeFirstModel(WorkloadTask task) override {
    return inner_->MakeFirstModel(std::move(task));
  }
  Pending<TrainedUpdate> Train(WorkloadTask task) override {
    return inner_->Train(std::move(task));
  }
  Pending<TrainedUpdate> Contribute(WorkloadTask task, CollectRequest request) override {
    return inner_->Contribute(std::move(task), std::move(request));
  }
  Pending<std::vector<EvalResult>> Evaluate(WorkloadTask task) override {
    return inner_->Evaluate(std::move(task));
  }
  absl::Duration cpu_time() const override { return inner_->cpu_time(); }

 private:
  const std::unique_ptr<Workload> inner_;
};

// Each update leaves a residual with its order for a weight; tells what each order was given.
class ResidualWorkload final : public WrappedWorkload {
 public:
  ResidualWorkload(std::unique_ptr<Workload> inner, std::map<WorkOrderId, int64_t>* given)
      : WrappedWorkload(std::move(inner)), given_(given) {}

  Pending<TrainedUpdate> Train(WorkloadTask task) override {
    const WorkOrderId id = task.order.id;
    (*given_)[id] = task.residual ? task.residual->weight : 0;
    return [train = WrappedWorkload::Train(std::move(task)), id]() mutable {
      absl::StatusOr<TrainedUpdate> update = std::move(train)();
      update->residual = std::make_shared<const Residual>(Residual{.values = {}, .weight = id});
      return update;
    };
  }
  Pending<std::vector<EvalResult>> Evaluate(WorkloadTask task) override {
    EXPECT_EQ(task.residual, nullptr);
    return WrappedWorkload::Evaluate(std::move(task));
  }

 private:
  std::map<WorkOrderId, int64_t>* const given_;
};

// Training diverges at a rate above `edge`.
class SteepWorkload final : public WrappedWorkload {
 public:
  SteepWorkload(std::unique_ptr<Workload> inner, double edge)
      : WrappedWorkload(std::move(inner)), edge_(edge) {}

  Pending<TrainedUpdate> Train(WorkloadTask task) override {
    if (task.order.client_rate <= edge_) return WrappedWorkload::Train(std::move(task));
    return [] { return absl::OutOfRangeError("the loss became inf"); };
  }

 private:
  const double edge_;
};

TEST_F(VirtualClientsTest, AClientsResidualIsThatOfItsLastAcceptedUpdate) {
  std::map<WorkOrderId, int64_t> given;
  wrap_ = [&given](std::unique_ptr<Workload> inner) {
    return std::make_unique<ResidualWorkload>(std::move(inner), &given);
  };
  std::string trace = "client,from_seconds,to_seconds\n0,0,6\n0,6.5,99\n";  // is lost in training
  for (int i = 1; i < 8; ++i) absl::StrAppend(&trace, i, ",0,99\n");
  Run({"simulation.availability.dropout=0.3", "job.stop.versions=12",
       absl::StrCat("simulation.availability.online={trace: {path: ",
                    dir_.Write("online.csv", trace), "}}")});
  ASSERT_THAT(status_, IsOk());
  std::map<std::string, int64_t> last;  // by client
  std::map<WorkOrderId, std::string> owners;
  int64_t passed_over_a_loss = 0;
  std::set<std::string> lost;
  for (const Line& line : lines_) {
    const WorkOrderId id = line.json.value("work_order", WorkOrderId{0});
    if (line.what == "send_work") {
      const std::string client = owners[id] = line.json["client"];
      if (!given.contains(id)) continue;
      EXPECT_EQ(given[id], last[client]) << client << ", order " << id;
      passed_over_a_loss += lost.erase(client) > 0 && last[client] > 0;
    } else if (line.what == "update_arrived") {
      last[owners[id]] = id;
    } else if (line.what == "work_failed") {
      lost.insert(owners[id]);
    }
  }
  EXPECT_GT(passed_over_a_loss, 0);
}

TEST_F(VirtualClientsTest, ClientsThatDivergeEndTheRun) {
  wrap_ = [](std::unique_ptr<Workload> inner) {
    return std::make_unique<SteepWorkload>(std::move(inner), 0.2);
  };
  Run({});
  EXPECT_THAT(status_, StatusIs(absl::StatusCode::kFailedPrecondition,
                                HasSubstr("no update of 100 in a row was usable; the last one: "
                                          "the loss became inf")));
}

TEST_F(VirtualClientsTest, ARateThatTheServerSetsComesDownToWhatTheyBear) {
  wrap_ = [](std::unique_ptr<Workload> inner) {
    return std::make_unique<SteepWorkload>(std::move(inner), 0.2);
  };
  Run({"job.hypergradient={variant: server_local}"});
  ASSERT_THAT(status_, IsOk());
  const RunSummary summary = experiment_->Summary();
  EXPECT_EQ(summary.progress.version, 6);
  EXPECT_EQ(summary.progress.client_rate, 0.125);
  for (const Line& lost : Of("work_failed")) EXPECT_EQ(lost.json["cause"], "not_finite");
  EXPECT_EQ(experiment_->metrics().at(0).client_rate, 1);
  EXPECT_EQ(experiment_->metrics().at(1).client_rate, 0.125);
}

TEST_F(VirtualClientsTest, UtilisationIsTheShareOfTimeWithWork) {
  Run({"job.scheduler={sync_round: {clients_per_round: 2}}"});
  ASSERT_THAT(status_, IsOk());
  EXPECT_DOUBLE_EQ(experiment_->Summary().utilisation, 0.25);
}

TEST_F(VirtualClientsTest, ASpeedChangeReachesAnOrderUnderWay) {
  Run({"simulation.speed_changes=[{at_seconds: 1, factor: 2}]", "job.stop.versions=2"});
  ASSERT_THAT(status_, IsOk());
  EXPECT_DOUBLE_EQ(experiment_->metrics().at(1).virtual_seconds, 1 + 1.5 * 2);
  EXPECT_DOUBLE_EQ(experiment_->metrics().at(2).virtual_seconds, 4 + 5);
}

TEST_F(VirtualClientsTest, GoingOfflineAbandonsTheWorkAndComingBackChecksIn) {
  std::string trace = "client,from_seconds,to_seconds\n0,0,1\n0,10,10.5\n0,12,99\n";
  for (int i = 1; i < 8; ++i) absl::StrAppend(&trace, i, ",0,99\n");
  const std::string path = dir_.Write("online.csv", trace);
  Run({absl::StrCat("simulation.availability.online={trace: {path: ", path, "}}")});
  ASSERT_THAT(status_, IsOk());
  // Rounds begin at 0, 2.5, …, 12.5. It is there for those that begin at 0, 10 and 12.5, after it
  // has made the first model; only the last of them is short enough.
  EXPECT_THAT(
      ToldOf("client-0"),
      ElementsAre("0 client_available", "0 model_made", "0 client_available", "1 work_failed",
                  "1 client_gone", "10 client_available", "10.5 work_failed", "10.5 client_gone",
                  "12 client_available", "15 update_arrived", "15 client_available"));
  for (const Line& lost : Of("work_failed")) EXPECT_EQ(lost.json["cause"], "abandoned");
  // The others work all the time; client-0 1 + 0.5 + 2.5 of 1 + 0.5 + 3 seconds.
  EXPECT_DOUBLE_EQ(experiment_->Summary().utilisation, (7 * 15 + 4) / (7 * 15 + 4.5));
}

TEST_F(VirtualClientsTest, WhoVanishesTimesOutAndIsNeverHeardOfAgain) {
  Run({"simulation.availability.vanishing={share: 0.5, by_seconds: 2.5}",
       "job.liveness_seconds=30"});
  ASSERT_THAT(status_, IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(
      const auto fleet,
      Fleet::Create(*test::SmallWorld(
          dir_, {"simulation.availability.vanishing={share: 0.5, by_seconds: 2.5}"})));
  int vanishing = 0;
  for (int64_t i = 0; i < 8; ++i) {
    const absl::Time at = fleet->device(i).vanishes_at;
    if (at == absl::InfiniteFuture()) continue;
    ++vanishing;
    const std::string noticed =
        absl::StrCat(absl::ToDoubleSeconds(at + absl::Seconds(30) - absl::UnixEpoch()));
    const std::vector<std::string> told = ToldOf(fleet->Id(i).value());
    ASSERT_GE(told.size(), 3u);
    EXPECT_EQ(told[told.size() - 2], noticed + " work_failed");
    EXPECT_EQ(told.back(), noticed + " client_gone");
  }
  EXPECT_EQ(vanishing, 4);
  EXPECT_EQ(experiment_->Summary().progress.lost,
            (std::map<std::string, int64_t>{{"timed_out", 4}}));
  EXPECT_EQ(experiment_->Summary().progress.version, 6);
}

TEST_F(VirtualClientsTest, ARunThatEndsBeforeTheyAreMissedEnds) {
  Run({"simulation.availability.vanishing={share: 0.5, by_seconds: 2.5}",
       "job.scheduler={sync_round: {clients_per_round: 4, over_selection: 2}}",
       "job.stop.versions=1"});
  ASSERT_THAT(status_, IsOk());
  EXPECT_EQ(experiment_->Summary().virtual_seconds, 2.5);
  EXPECT_THAT(Of("recall_work"), Not(IsEmpty()));
}

TEST_F(VirtualClientsTest, WhenEverybodyHasVanishedTheRunSaysSo) {
  Run({"simulation.availability.vanishing={share: 1, by_seconds: 2}"});
  EXPECT_THAT(status_,
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("nothing is left to happen"), HasSubstr("version 0"))));
}

TEST_F(VirtualClientsTest, LateJoinersCheckInFirstAtTheirTime) {
  const std::string late = "simulation.availability.late_joiners={share: 0.5, by_seconds: 10}";
  Run({late});
  ASSERT_THAT(status_, IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const auto fleet, Fleet::Create(*test::SmallWorld(dir_, {late})));
  int joined_late = 0;
  for (int64_t i = 0; i < 8; ++i) {
    const double at = absl::ToDoubleSeconds(fleet->device(i).joins_at - absl::UnixEpoch());
    EXPECT_EQ(ToldOf(fleet->Id(i).value()).at(0), absl::StrCat(at, " client_available"));
    joined_late += at > 0 ? 1 : 0;
  }
  EXPECT_EQ(joined_late, 4);
}

TEST_F(VirtualClientsTest, ADropoutIsAbandonedOnTheWayAndChecksInAgain) {
  Run({"simulation.availability.dropout=0.2", "job.stop.versions=100"});
  ASSERT_THAT(status_, IsOk());
  std::map<int64_t, const Line*> sent;
  int orders = 0;
  for (const Line& line : lines_) {
    if (line.what != "send_work" || line.json["kind"] != "train") continue;
    sent[line.json["work_order"].get<int64_t>()] = &line;
    ++orders;
  }
  const std::vector<Line> lost = Of("work_failed");
  double sum = 0;
  for (const Line& line : lost) {
    EXPECT_EQ(line.json["cause"], "abandoned");
    const Line& order = *sent.at(line.json["work_order"].get<int64_t>());
    const double share = (line.at - order.at) / 2.5;
    EXPECT_GE(share, 0);
    EXPECT_LT(share, 1);
    sum += share;
    EXPECT_THAT(ToldOf(order.json["client"]), Contains(absl::StrCat(line.at, " client_available")));
  }
  const auto n = static_cast<double>(lost.size());
  EXPECT_NEAR(n, 0.2 * orders, 5 * std::sqrt(0.2 * 0.8 * orders));
  EXPECT_NEAR(sum / n, 0.5, 5 / std::sqrt(12 * n));
}

// Orders and check-ins of a long run with everything on keep to their places.
TEST_F(VirtualClientsTest, WithEverythingOnEveryEventHasItsPlace) {
  Run({"simulation.clients=30", "job.scheduler.sync_round.clients_per_round=10",
       "job.stop.versions=200", "job.liveness_seconds=20",
       "simulation.speed={lognormal: {mean_seconds_per_step: 0.5, sigma: 1, jitter: 0.2}}",
       "simulation.speed_changes=[{at_seconds: 100, share: 0.5, factor: 3}]",
       "simulation.network={uplink_mbps: 0.001, downlink_mbps: 0.001, spread: 1}",
       "simulation.availability={dropout: 0.1, online: {markov: {mean_online_seconds: 20, "
       "mean_offline_seconds: 5}}, vanishing: {share: 0.3, by_seconds: 500}, "
       "late_joiners: {share: 0.3, by_seconds: 300}}"});
  ASSERT_THAT(status_, IsOk());
  std::map<int64_t, std::string> out;  // work orders
  std::set<std::string> there;
  double before = 0;
  for (const Line& line : lines_) {
    EXPECT_GE(line.at, before);
    before = line.at;
    const auto client = line.json.value("client", "");
    if (line.what == "client_available") there.insert(client);
    if (line.what == "client_gone") {
      EXPECT_EQ(there.erase(client), 1u) << client << " was not there";
    }
    const auto order = line.json.value("work_order", int64_t{0});
    if (line.what == "send_work") {
      EXPECT_TRUE(there.contains(client)) << client;
      for (const auto& [id, owner] : out) EXPECT_NE(owner, client) << "two orders at a time";
      out[order] = client;
    }
    if (line.what == "update_arrived" || line.what == "work_failed" ||
        line.what == "evaluation_arrived" || line.what == "recall_work" ||
        (line.what == "model_made")) {
      EXPECT_EQ(out.erase(order), 1u) << line.json;
    }
  }
  const auto lost = experiment_->Summary().progress.lost;
  EXPECT_GT(lost.at("abandoned"), 50);
  EXPECT_GT(lost.at("timed_out"), 0);
  const double utilisation = experiment_->Summary().utilisation;
  EXPECT_GT(utilisation, 0.1);
  EXPECT_LT(utilisation, 1.0);
}

}  // namespace
}  // namespace tributary
