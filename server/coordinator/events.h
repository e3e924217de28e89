// What goes into a JobController and what comes out. Values only; every one has a JSON
// form, so that a run is a list of lines: the journal, events.jsonl, and replay.
#ifndef TRIBUTARY_SERVER_COORDINATOR_EVENTS_H_
#define TRIBUTARY_SERVER_COORDINATOR_EVENTS_H_

#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/digest.h"
#include "common/ids.h"
#include "common/params/collection.h"
#include "common/params/update.h"
#include "nlohmann/json.hpp"

namespace tributary {

enum class WorkKind { kInitialise, kTrain, kEvaluate, kExplore, kSketch };
absl::string_view WorkKindName(WorkKind kind);  // "initialise", "train", …
// What a client with such an order contributes to; absent: the work is no collection's.
std::optional<CollectKind> CollectKindOf(WorkKind kind);
WorkKind WorkKindOf(CollectKind kind);

// What one client is to do, once.
struct WorkOrder {
  WorkOrderId id = 0;
  ClientId client;
  WorkKind kind = WorkKind::kTrain;
  Version version = 0;  // the base (train, explore, sketch), or the version to evaluate
  GroupId group = 0;    // train only
  // Of a job that goes from task to task: whose data are trained on, or sketched; the last of
  // those that are evaluated.
  int64_t task = 0;
  // How many tasks are evaluated, up to that one; others than an evaluation's: 1.
  int64_t tasks = 1;
  std::optional<int64_t> local_steps;
  double client_rate = 1.0;  // train only: times the train section's learning rate
  // Train only, of a job with train.hypergradient: the server_rate of the base, if it was made
  // from the version before it. The client then wants that one too.
  std::optional<double> server_rate;
  int64_t adapter_rank = 0;  // train only, of a job with adapters
  absl::Time dispatched_at;
  absl::Time deadline = absl::InfiniteFuture();
  std::optional<absl::Time> expected_at;  // when the scheduler thinks that it will be done
  uint64_t seed = 0;
};

// Why a work order brought nothing. The names are the counters'.
enum class LossCause {
  kAbandoned,
  kTimedOut,
  kNotFinite,
  kWrongLayout,
  kBadWeight,
  kCorrupt,
  kTooLarge,
  kRecalled,  // by the coordinator itself: the job ended
};
absl::string_view LossCauseName(LossCause cause);  // "abandoned", "timed_out", …

// What an evaluation of one task's data gave.
struct TaskResult {
  int64_t num_examples = 0;
  double loss = 0;
  double accuracy = 0;
};

namespace event {

// The client is idle. Repeated check-ins of an idle client are one, but for the task.
struct ClientAvailable {
  ClientId client;
  bool evaluate_only = false;
  // As it says: the task that its newest data belong to, the rank of an adapter that it wants (0:
  // whatever it is given), the memory that it may train in (0: not declared).
  int64_t task = 0;
  int64_t adapter_rank = 0;
  int64_t memory_bytes = 0;
};
struct ClientGone {
  ClientId client;
};
// The first model, made by a client (its work order) or read from a file (0), is durable.
struct ModelMade {
  WorkOrderId work_order = 0;
};
// An update, or a contribution to a collection, is durable, decoded once and found valid.
struct UpdateArrived {
  UpdateInfo info;
  int64_t bytes = 0;                              // of the payload as it travelled
  std::optional<Xxh128> checksum = std::nullopt;  // of the same; old journals have none
};
struct EvaluationArrived {
  WorkOrderId work_order = 0;
  int64_t num_examples = 0;
  double loss = 0;
  double accuracy = 0;
  // Where more than one task was evaluated: of each; the figures above are then of the last.
  std::vector<TaskResult> tasks;
};
struct WorkFailed {
  WorkOrderId work_order = 0;
  LossCause cause = LossCause::kAbandoned;
  std::string message;
};
struct TimerFired {};
// The answer to action::InstallModel (version 0) and action::PublishVersion.
struct VersionPublished {
  Version version = 0;
  Digest model_digest;
  double server_rate = 1.0;
  double delta_norm = 0;
  double client_rate = 1.0;  // for the training orders from now on
  // Of version 0, with adapters: bytes of the model's values, and of all adapters' per rank.
  int64_t model_bytes = 0;
  int64_t adapter_bytes = 0;
  // Of adapters delivered recompressed: squared norms of what waits for the next version, and of
  // what was lost (aggregators/lora/delivery.h).
  double tail_energy = 0;
  double dropped_energy = 0;
};
struct PublishFailed {
  std::string message;
};
struct Command {
  enum class Verb { kPause, kResume, kCancel, kNextTask } verb = Verb::kPause;
};

}  // namespace event

struct JobEvent {
  absl::Time at;
  std::variant<event::ClientAvailable, event::ClientGone, event::ModelMade, event::UpdateArrived,
               event::EvaluationArrived, event::WorkFailed, event::TimerFired,
               event::VersionPublished, event::PublishFailed, event::Command>
      what;
};

enum class JobState { kInitialising, kRunning, kPaused, kDone, kCancelled, kFailed };
absl::string_view JobStateName(JobState state);  // "initialising", "running", …
absl::StatusOr<JobState> ParseJobState(absl::string_view name);
inline bool IsEnded(JobState s) { return s >= JobState::kDone; }

// What a job is at. kEndTask: all that is under way for the ended task comes to its end.
enum class JobPhase { kInitialise, kExplore, kTrain, kEndTask, kSketch };
absl::string_view JobPhaseName(JobPhase phase);  // "initialise", "end_task", …

namespace action {

struct SendWork {
  WorkOrder order;
};
// The client's work is no longer wanted; what it has uploaded may go.
struct RecallWork {
  WorkOrderId work_order = 0;
  ClientId client;
};
// Publish version 0 from what ModelMade named.
struct InstallModel {
  WorkOrderId work_order = 0;
};
// Combine these updates in this order, apply, publish; or learn from these contributions, which
// makes a version too: what was learnt, and the model as it then is. The answer is
// VersionPublished. No event but the answer changes the controller until then (later ones wait
// inside it).
struct PublishVersion {
  struct Part {
    UpdateInfo info;
    ClientId client;
    int64_t staleness = 0;
    int64_t bytes = 0;
    uint64_t seed = 0;  // the work order's
    double coefficient = 1;
    // The delta counts as if trained at today's client_rate: times that over the work order's.
    double rate_ratio = 1;
  };
  Version version = 0;  // the one to make
  GroupId group = 0;
  std::vector<Part> parts;  // ascending work orders; not empty
  // As in schedulers/scheduler.h's Close.
  bool given_coefficients = false;
  bool mix_models = false;
  bool beside_momentum = false;
  std::optional<CollectKind> learns;  // what the parts are contributions to; absent: updates
  // Share of the parts whose client and base the last version had too; 0 where nobody asks.
  double repeated = 0;
  // The clients' rate may not rise above this any more; infinite: nothing is known of it.
  double client_rate_limit = std::numeric_limits<double>::infinity();
};
// An accepted update that will never be used.
struct DropUpdate {
  WorkOrderId work_order = 0;
};
// Deliver TimerFired at this time; replaces the earlier wish. InfiniteFuture: none.
struct WakeAt {
  absl::Time at;
};
// All reports of a version are in (or those that came in time).
struct RecordEvaluation {
  Version version = 0;
  int64_t num_examples = 0;
  double loss = 0;
  double accuracy = 0;
  std::vector<TaskResult> tasks;  // as of EvaluationArrived, over all reports
};
struct SetState {
  JobState state = JobState::kRunning;
  std::string reason;
};

}  // namespace action

using JobAction =
    std::variant<action::SendWork, action::RecallWork, action::InstallModel, action::PublishVersion,
                 action::DropUpdate, action::WakeAt, action::RecordEvaluation, action::SetState>;

// {"at": seconds.nanoseconds as text, "event": "update_arrived", …}. Exact: FromJson(ToJson(e)) ==
// e.
nlohmann::json ToJson(const JobEvent& event);
absl::StatusOr<JobEvent> JobEventFromJson(const nlohmann::json& json);
// {"at": …, "action": "send_work", …}: for reading and comparing; never parsed back.
nlohmann::json ToJson(const JobAction& action, absl::Time at);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_EVENTS_H_
