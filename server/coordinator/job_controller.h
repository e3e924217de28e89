// JobController: the coordinator core for one job. A deterministic state machine without
// threads, clock or I/O: events in, actions out. Two hosts drive it, server/live on wall
// time and simulator/ on virtual time; replay is feeding it a recorded list.
//
//   auto controller = JobController::Create(spec, now);
//   host.Perform((*controller)->Start(now));
//   for (;;) host.Perform((*controller)->Handle(next_event));
//
// It runs the job's phases: `initialise` (asks one client for the first model, unless a file
// gives it), `explore` (before training, if a transform learns from it), `train` (asks the
// scheduler), `sketch` (at a task's end, likewise), `evaluate` (beside training: clients that only
// evaluate, or everyone at the next check-in). It gives out work-order ids, holds the
// scheduler's decisions until the version that they rest on is published, counts, and
// ends the job.
#ifndef TRIBUTARY_SERVER_COORDINATOR_JOB_CONTROLLER_H_
#define TRIBUTARY_SERVER_COORDINATOR_JOB_CONTROLLER_H_

#include <deque>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/status/statusor.h"
#include "schedulers/scheduler.h"
#include "server/coordinator/divergence.h"
#include "server/coordinator/events.h"
#include "server/coordinator/job_spec.h"
#include "server/coordinator/participation.h"
#include "server/coordinator/rank_assignment.h"

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
  JobPhase phase = JobPhase::kInitialise;  // of an ended job: the last
  // Of the collection under way, or else the last: contributions that came, and that were asked.
  int64_t contributions = 0;
  int64_t contributions_asked = 0;
  int64_t task = 0;  // that is being learnt, from 0
  // [t][j]: accuracy on task j after task t was learnt, j <= t; the newest of the task being
  // learnt.
  std::vector<std::vector<double>> task_accuracy;
  Digest model_digest;
  double server_rate = 1.0;
  double client_rate = 1.0;
  int64_t updates = 0;       // combined into published versions
  int64_t client_steps = 0;  // local steps of those
  int64_t uplink_bytes = 0;  // payloads of valid updates, as they travelled
  int64_t late_updates = 0;  // arrived after their deadline
  int64_t in_flight = 0;     // work orders out now
  // With adapters: what a client holds in training at each rank, bytes; empty before version 0.
  std::map<int64_t, int64_t> adapter_memory;
  int64_t clients_without_rank = 0;  // present, and fit for no rank of the job's
  EvaluationResult evaluation;       // newest
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

  // The work order, while it is out, until the next event; nullptr when unknown, finished or
  // given up.
  const WorkOrder* FindWork(WorkOrderId id) const;
  // True while the update is accepted and not yet applied or dropped, or was applied: an
  // upload of it is answered "already have it".
  bool WasAccepted(WorkOrderId id) const {
    return id > 0 && id < std::ssize(accepted_) && accepted_[static_cast<size_t>(id)];
  }
  // What the client last said its data belong to; 0: nothing.
  int64_t ReportedTask(const ClientId& client) const;
  // When this client, if it were idle, could next be given work: before that, asking is in vain.
  absl::Time NotBefore(const ClientId& client, absl::Time now) const;

 private:
  struct Client {
    bool evaluate_only = false;
    int64_t task = 0;       // that it reports
    bool present = false;   // checked in since it was last gone
    bool idle = false;      // checked in, and not given an order since
    bool admitted = false;  // has a place: the scheduler may dispatch it, or has
    bool planned = false;   // a dispatch waits for a publication
    int64_t evaluated = 0;  // newest evaluation that it was asked for
    int64_t collected = 0;  // newest collection that it was asked to contribute to
    WorkOrder order;        // that it works on; id 0: none

    bool busy() const { return order.id != 0; }
  };
  struct AcceptedUpdate {
    ClientId client;
    UpdateInfo info;
    int64_t bytes = 0;
    uint64_t seed = 0;  // this and the next: the work order's
    double client_rate = 1.0;
  };
  struct RunningEvaluation {
    Version version = -1;  // -1: none
    int64_t task = 0;      // the last of those that are evaluated
    int64_t tasks = 1;     // their number
    int64_t number = 0;    // of those begun, from 1
    absl::Time deadline = absl::InfiniteFuture();
    int64_t out = 0;  // orders not answered yet
    int64_t num_examples = 0;
    double loss_sum = 0;  // these two weighted by examples
    double accuracy_sum = 0;
    std::vector<TaskResult> task_sums;  // the same by task

    bool of_all_tasks() const { return tasks == task + 1; }  // so far
    bool asked_for(const WorkOrder& order) const {
      return order.version == version && order.tasks == tasks;
    }
  };
  // What comes between trainings: first all that is under way comes to its end.
  enum class Phase { kTrain, kEnding, kQuiet, kCollect };
  struct RunningCollection {
    CollectKind kind = CollectKind::kExplore;
    absl::Time deadline = absl::InfiniteFuture();
    int64_t asked = 0;
    int64_t out = 0;  // orders not answered yet
    std::set<WorkOrderId> received;
  };
  // What is being published, as progress counts it.
  struct Publication {
    GroupId group = 0;
    int64_t updates = 0;
    int64_t client_steps = 0;
    double staleness_sum = 0;
    int64_t staleness_max = 0;
    double loss_sum = 0;  // weighted by examples
    double num_examples = 0;
    bool learns = false;  // from a collection: nothing is counted
  };
  // The scheduler's will, one step at a time: what stands behind a Close waits for it.
  using Step = std::variant<Close, Dispatch>;

  explicit JobController(JobSpec spec) : spec_(std::move(spec)), admission_(spec_.participation) {}

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

  void Announce(const ClientId& id, Client& client);
  std::vector<ClientId> SortedClients() const;
  void AdmitWaiting();
  void CheckOutAtClosing();
  void GiveUpPlace(const ClientId& id, Client& client);
  void UseTime();

  void AskForFirstModel();
  void NoteDivergence(const WorkOrder& order, const std::string& message);

  void AskScheduler(decltype(SchedulerEvent::what) what);
  void RunSteps();
  void StartPublication(const Close& close);
  double ShareRepeated(const std::vector<action::PublishVersion::Part>& parts);
  void StartTraining(const Dispatch& dispatch);
  void DropWaiting(WorkOrderId id);
  void DropPlans();

  WorkOrder& NewWork(const ClientId& id, Client& client, WorkKind kind);
  void Send(const WorkOrder& order);
  std::optional<WorkOrder> TakeWork(WorkOrderId id);
  void Recall(bool evaluations_too);

  void CountReport(const Client& client, int64_t by);
  void EndTaskIfDue();
  void EndTaskIfReported();
  void EndTask();
  bool ExplorationIsDue() const;
  void ChangePhase();
  void FallQuiet();
  void BeginNextTask();
  void BeginTraining();
  void BeginCollection(CollectKind kind);
  bool OfferCollection(const ClientId& id, Client& client);
  void OfferCollections();
  bool IsCollected() const;
  void FinishCollectionIfDone();
  void FinishCollection();
  void NotePhase();
  void CountPublication(const Publication& publication);
  void NoteAdapterMemory(const event::VersionPublished& first);

  bool MayEvaluate(const Client& client) const;
  bool OwesEvaluation(const Client& client) const;
  bool OfferEvaluation(const ClientId& id, Client& client);
  std::vector<ClientId> ClientsThatMayEvaluate() const;  // in any order
  void EvaluateVersion(Version version, int64_t tasks = 1);
  void StartEvaluation();
  void OfferEvaluations();
  void FinishEvaluationIfDone();
  void FinishEvaluation();
  void NoteTasks(int64_t task, const std::vector<TaskResult>& results);

  void StopIfReached();
  void Drain(std::string reason);
  void EndIfDrained();
  void End(JobState state, std::string reason);
  void SetState(JobState state, std::string reason);
  void UpdateWake();

  const JobSpec spec_;
  const std::optional<CollectRequest> explores_ = spec_.Collects(CollectKind::kExplore);
  const std::optional<CollectRequest> sketches_ = spec_.Collects(CollectKind::kSketch);
  const bool follows_deltas_ = FollowsDeltas(spec_);
  const bool sets_client_rate_ = SetsClientRate(spec_);
  const bool clients_follow_ = TrainOf(spec_).hypergradient.has_value();  // the global update
  std::unique_ptr<Scheduler> scheduler_;
  JobProgress progress_;
  absl::Time now_ = absl::InfinitePast();          // of the latest event
  absl::Time happened_at_ = absl::InfinitePast();  // of this one: earlier if it had to wait
  absl::Time training_since_ = absl::InfiniteFuture();

  absl::node_hash_map<ClientId, Client> clients_;
  std::set<ClientId> evaluators_;        // those present that only evaluate
  std::map<int64_t, int64_t> reported_;  // by task, how many of the others report it
  Admission admission_;
  std::optional<RankAssignment> ranks_;             // with adapters
  std::set<ClientId> without_rank_;                 // present, and fit for none
  bool was_open_ = true;                            // at the latest event
  absl::flat_hash_map<WorkOrderId, Client*> work_;  // who has it
  WorkOrderId next_work_order_ = 1;
  int64_t training_orders_ = 0;  // seeds of training do not depend on evaluations in between

  // Accepted, neither closed nor dropped.
  absl::flat_hash_map<WorkOrderId, AcceptedUpdate> waiting_updates_;
  std::vector<bool> accepted_;  // by work order, up to the last of them
  std::deque<Step> steps_;
  std::optional<Publication> publication_;  // being made by the host
  bool installing_ = false;                 // version 0 is being made by the host
  std::deque<JobEvent> deferred_;           // arrived meanwhile
  // Of the updates in the last version, where follows_deltas_: client and base.
  absl::flat_hash_set<std::pair<ClientId, Version>> combined_;

  Divergence divergence_;
  double client_rate_limit_ = std::numeric_limits<double>::infinity();

  Phase phase_ = Phase::kTrain;
  RunningCollection collection_;   // in phase kCollect
  int64_t collections_ = 0;        // begun
  int64_t collection_orders_ = 0;  // given out: their seeds depend on nothing else
  Version task_base_ = 0;          // where the task began, and one more for each exploration since
  Version explored_ = 0;           // the version that the last exploration made
  bool task_ends_ = false;         // all that is left to do for it is between trainings

  RunningEvaluation evaluation_;
  // Waits until the running one is done; the newest wins, unless only the older is of all tasks.
  RunningEvaluation next_evaluation_;
  int64_t evaluations_ = 0;              // begun
  Version evaluated_in_all_tasks_ = -1;  // newest version

  bool draining_ = false;  // the stop was reached; only the last evaluation is awaited
  absl::Time drain_until_ = absl::InfiniteFuture();
  std::string stop_reason_;

  absl::Time scheduler_wake_ = absl::InfiniteFuture();
  absl::Time wake_ = absl::InfiniteFuture();  // as last told to the host

  std::vector<JobAction> actions_;  // of the event being handled
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_JOB_CONTROLLER_H_
