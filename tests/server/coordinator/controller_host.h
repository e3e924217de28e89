// ControllerHost: plays the host of a JobController in tests.
//
//   ControllerHost host(Spec({{"stop", {{"versions", 5}}}}));
//   host.Begin({"a", "b"});                                  // version 0; both are given work
//   for (const WorkOrder& order : host.Out(WorkKind::kTrain)) host.Finish(3, order.id);
//   host.Published(4);
#ifndef TRIBUTARY_TESTS_SERVER_COORDINATOR_CONTROLLER_HOST_H_
#define TRIBUTARY_TESTS_SERVER_COORDINATOR_CONTROLLER_HOST_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/coordinator/job_controller.h"

namespace tributary::test {

inline absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

// A small job, changed by a JSON merge patch.
inline JobSpec Spec(nlohmann::json changes = nlohmann::json::object()) {
  nlohmann::json job = {{"name", "test"},
                        {"model", {{"builtin", {{"name", "logistic"}}}}},
                        {"train", {{"local_steps", 5}}},
                        {"scheduler", {{"sync_round", {{"clients_per_round", 2}}}}},
                        {"stop", {{"versions", 3}}}};
  job.merge_patch(changes);
  auto spec = ParseJobSpecJson(job.dump());
  EXPECT_TRUE(spec.ok()) << spec.status();
  return *std::move(spec);
}

// Plays the host: feeds events, sorts what comes out, answers publications on request.
class ControllerHost {
 public:
  explicit ControllerHost(JobSpec spec = Spec(), bool initial_model = false) {
    auto made = JobController::Create(std::move(spec));
    EXPECT_TRUE(made.ok()) << made.status();
    controller = *std::move(made);
    Take(controller->Start(At(0), initial_model));
  }

  // Feeds one event; then fires the timer for as long as it is due at the same time.
  void Feed(double seconds, decltype(JobEvent::what) what) {
    now = seconds;
    Take(controller->Handle({At(seconds), std::move(what)}));
    for (int i = 0; i < 10 && wake && *wake <= At(now); ++i) {
      wake.reset();
      Take(controller->Handle({At(now), event::TimerFired{}}));
    }
  }
  // Until then, only the timer is heard of.
  void Wait(double seconds) {
    while (wake && *wake <= At(seconds)) {
      Feed(absl::ToDoubleSeconds(*wake - At(0)), event::TimerFired{});
    }
    now = seconds;
  }
  void CheckIn(double seconds, const std::string& client, bool evaluate_only = false,
               int64_t task = 0) {
    Feed(seconds, event::ClientAvailable{ClientId(client), evaluate_only, task});
  }
  void Finish(double seconds, WorkOrderId id, int64_t examples = 10, int64_t steps = 5) {
    const WorkOrder* order = controller->FindWork(id);
    ASSERT_NE(order, nullptr) << id;
    Feed(seconds, event::UpdateArrived{{.work_order = id,
                                        .base_version = order->version,
                                        .num_examples = examples,
                                        .local_steps = steps,
                                        .learning_rate = 0.1,
                                        .loss = 1.5},
                                       100});
  }
  void Report(double seconds, WorkOrderId id, int64_t examples, double accuracy) {
    Feed(seconds, event::EvaluationArrived{id, examples, 1.0 - accuracy, accuracy});
  }
  void Published(double seconds) {
    Feed(seconds, event::VersionPublished{controller->progress().version + 1, Sha256::Of("model"),
                                          1.0, 0.5});
  }
  // Brings the job to version 0 with these clients idle.
  void Begin(const std::vector<std::string>& clients) {
    for (const auto& client : clients) CheckIn(0, client);
    const WorkOrderId first = Out(WorkKind::kInitialise).at(0).id;
    const std::string maker = Out(WorkKind::kInitialise).at(0).client.value();
    Feed(0, event::ModelMade{first});
    Published(0);
    CheckIn(0, maker);
  }

  std::vector<WorkOrder> Out(WorkKind kind) const {
    std::vector<WorkOrder> orders;
    for (const WorkOrder& order : sent) {
      if (order.kind == kind && controller->FindWork(order.id) != nullptr) orders.push_back(order);
    }
    return orders;
  }
  const JobProgress& progress() const { return controller->progress(); }

  std::unique_ptr<JobController> controller;
  double now = 0;
  std::optional<absl::Time> wake;
  std::vector<WorkOrder> sent;
  std::vector<action::RecallWork> recalled;
  std::vector<action::InstallModel> installs;
  std::vector<action::PublishVersion> publications;
  std::vector<WorkOrderId> dropped;
  std::vector<action::RecordEvaluation> evaluations;
  std::vector<JobState> states;

 private:
  void Take(const std::vector<JobAction>& actions) {
    for (const JobAction& action : actions) std::visit([this](const auto& a) { On(a); }, action);
  }
  void On(const action::SendWork& a) { sent.push_back(a.order); }
  void On(const action::RecallWork& a) { recalled.push_back(a); }
  void On(const action::InstallModel& a) { installs.push_back(a); }
  void On(const action::PublishVersion& a) { publications.push_back(a); }
  void On(const action::DropUpdate& a) { dropped.push_back(a.work_order); }
  void On(const action::WakeAt& a) {
    wake = a.at == absl::InfiniteFuture() ? std::nullopt : std::optional(a.at);
  }
  void On(const action::RecordEvaluation& a) { evaluations.push_back(a); }
  void On(const action::SetState& a) { states.push_back(a.state); }
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SERVER_COORDINATOR_CONTROLLER_HOST_H_
