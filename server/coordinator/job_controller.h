// JobController: the coordinator core for one job. A deterministic state machine without
// threads, clock or I/O: events in, actions out. Two hosts drive it, server/live on wall
// time and simulator/ on virtual time; replay is feeding it a recorded list.
//
//   auto controller = JobController::Create(spec, now);
//   host.Perform((*controller)->Start(now));
//   for (;;) host.Perform((*controller)->Handle(next_event));
//
// It runs the job's phases: `initialise` (asks one client for the first model, unless a file
// gives it), `train` (asks the scheduler), `evaluate` (beside training: clients that only
// evaluate, or everyone at the next check-in). It gives out work-order ids, holds the
// scheduler's decisions until the version that they rest on is published, counts, and
// ends the job.
#ifndef TRIBUTARY_SERVER_COORDINATOR_JOB_CONTROLLER_H_
#define TRIBUTARY_SERVER_COORDINATOR_JOB_CONTROLLER_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "schedulers/scheduler.h"
#include "server/coordinator/events.h"
#include "server/coordinator/job_spec.h"

namespace tributary {

// Everything that people and reports want to know of a job. Counts since its start.
struct JobProgress {
  struct EvaluationResult {
    Version version = -1;  // -1: none yet
    double loss = 0;
    double accuracy = 0;
    int64_t num_examples = 0;
  };
  JobState state = JobState::kInitialising;
  std::string reason;
  Version version = -1;
  Digest model_digest;
  double server_rate = 1.0;
  int64_t updates = 0;          // combined into published versions
  int64_t client_steps = 0;     // local steps of those
  int64_t uplink_bytes = 0;     // payloads of valid updates, as they travelled
  int64_t late_updates = 0;     // arrived after their deadline
  int64_t in_flight = 0;        // work orders out now
  EvaluationResult evaluation;  // newest
  EvaluationResult best;
  std::map<std::string, int64_t> lost;  // by LossCauseName
  // Staleness over combined updates; of the last version alone.
  double staleness_sum = 0;
  int64_t staleness_max = 0;
  double last_mean_staleness = 0;
  double last_train_loss = 0;  // mean over the last version's updates, by examples
};

// Thread-compatible.
class JobController {
 public:
  // InvalidArgument if the spec's scheduler refuses its options.
  static absl::StatusOr<std::unique_ptr<JobController>> Create(JobSpec spec);

  // Once, before any event. `has_initial_model`: a file gives the first model, so the host
  // answers InstallModel{0}.
  std::vector<JobAction> Start(absl::Time now, bool has_initial_model);

  // Times must not run backwards; an earlier one is taken as the latest seen. Events that no
  // longer matter (an update of a work order that was given up) change nothing.
  std::vector<JobAction> Handle(const JobEvent& event);

  const JobSpec& spec() const { return spec_; }
  const JobProgress& progress() const { return progress_; }
  nlohmann::json SchedulerStats() const { return scheduler_->Stats(); }

  // The work order, while it is out; nullptr when unknown, finished or given up.
  const WorkOrder* FindWork(WorkOrderId id) const;
  // True while the update is accepted and not yet applied or dropped, or was applied: an
  // upload of it is answered "already have it".
  bool WasAccepted(WorkOrderId id) const { return accepted_.contains(id); }

 private:
  struct AcceptedUpdate {
    WorkOrder order;
    UpdateInfo info;
    int64_t bytes = 0;
  };
  struct PendingEvaluation;

  explicit JobController(JobSpec spec) : spec_(std::move(spec)) {}

  void Process(const JobEvent& event);
  void On(const event::ClientAvailable& e);
  void On(const event::ClientGone& e);
  void On(const event::ModelMade& e);
  void On(const event::UpdateArrived& e);
  void On(const event::EvaluationArrived& e);
  void On(const event::WorkFailed& e);
  void On(const event::TimerFired& e);
  void On(const event::VersionPublished& e);
  void On(const event::PublishFailed& e);
  void On(const event::Command& e);

  void AskScheduler(const SchedulerEvent& event);
  void Obey(Decision decision);
  void RunQueue();  // starts the next close, or sends the dispatches that waited for one
  void SendTraining(const Dispatch& dispatch);
  WorkOrder& NewWork(const ClientId& client, WorkKind kind);
  void AskForFirstModel();
  void OfferEvaluation(const ClientId& client);
  void StartEvaluation();
  void FinishEvaluation();
  void CheckStop();
  void End(JobState state, std::string reason);
  void EndIfDrained();
  void Rewake();

  struct Client {
    bool evaluate_only = false;
    bool available = false;
    Version evaluated = -1;  // newest version that it was asked to evaluate
  };
  // One step of the scheduler's will, in order: a close, or a dispatch after closes.
  using Step = std::variant<Close, Dispatch>;

  const JobSpec spec_;
  std::unique_ptr<Scheduler> scheduler_;
  JobProgress progress_;
  absl::Time now_ = absl::InfinitePast();
  absl::Time started_at_;
  bool publishing_ = false;
  bool draining_ = false;  // the stop was reached; only the last evaluation is awaited
  absl::Time drain_until_ = absl::InfiniteFuture();
  std::deque<JobEvent> deferred_;  // arrived while publishing
  std::deque<Step> steps_;
  std::map<ClientId, Client> clients_;
  std::map<WorkOrderId, WorkOrder> work_;
  std::map<WorkOrderId, AcceptedUpdate> waiting_updates_;  // accepted, not yet closed
  std::set<WorkOrderId> accepted_;
  action::PublishVersion publication_;  // being published
  WorkOrderId next_work_order_ = 1;
  absl::Time scheduler_wake_ = absl::InfiniteFuture();
  absl::Time wake_ = absl::InfiniteFuture();  // last told to the host

  struct Evaluation {
    Version version = -1;  // -1: none running
    absl::Time deadline = absl::InfiniteFuture();
    int64_t out = 0;  // orders not answered
    int64_t num_examples = 0;
    double loss_sum = 0, accuracy_sum = 0;  // weighted by examples
  };
  Evaluation evaluation_;

  std::vector<JobAction> actions_;  // of the event being handled
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_JOB_CONTROLLER_H_
