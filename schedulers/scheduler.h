// Scheduler: who trains, how many local steps, and when a group closes.
//
// A scheduler is a pure decision maker: events go in, one Decision comes out. It has no
// clock (events carry the time), no thread, no I/O, and draws only from the Rng it was
// given; so the same events give the same decisions, live, simulated and replayed.
//
// Order: the host delivers events one at a time in order of time; at equal times
// UpdateAccepted and WorkLost come first, then CheckIn and CheckOut, then TimerFired. A
// scheduler that wants to see all check-ins of an instant before it decides returns
// wake_at = the event's time, and decides on TimerFired.
#ifndef TRIBUTARY_SCHEDULERS_SCHEDULER_H_
#define TRIBUTARY_SCHEDULERS_SCHEDULER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "common/rng.h"
#include "nlohmann/json_fwd.hpp"

namespace tributary {

// The client may be given work, until it is dispatched or checks out. Repeated check-ins of an
// idle client are one. The host has already held back clients that may not work now (the
// job's `participation`), so that every scheduler gets these limits without knowing them.
struct CheckIn {
  ClientId client;
};
// The client may no longer be given work (gone, taken by another job, or held back).
struct CheckOut {
  ClientId client;
};
// A work order's update has arrived, is durable and valid.
struct UpdateAccepted {
  ClientId client;
  WorkOrderId work_order = 0;
  GroupId group = 0;
  absl::Time dispatched_at;
  // When it came. The event's own time is later if a version was just being published.
  absl::Time arrived_at;
  int64_t local_steps = 0;  // done, as reported
  int64_t num_examples = 0;
  Version base_version = 0;
  // The client may be given work at once, as after a CheckIn. If not, it will check in when
  // it may.
  bool available = false;
};
// A work order will never bring an update: abandoned, refused, or no sign of life.
struct WorkLost {
  ClientId client;
  WorkOrderId work_order = 0;
  GroupId group = 0;
};
// The time asked for by wake_at has come.
struct TimerFired {};
// The close of `group` has been applied: the model now is `version`.
struct Published {
  GroupId group = 0;
  Version version = 0;
};

struct SchedulerEvent {
  absl::Time at;
  std::variant<CheckIn, CheckOut, UpdateAccepted, WorkLost, TimerFired, Published> what;
};

// To a client that has checked in or whose update came with `available`, and that has been
// neither dispatched nor checked out since. The host keeps the order until that client asks.
struct Dispatch {
  ClientId client;
  GroupId group = 0;
  // Optimizer steps to do; absent: what the job's train section says.
  std::optional<int64_t> local_steps;
  // When the update should be there; the host tells the client. Passing it loses nothing
  // by itself: the scheduler decides what lateness means.
  absl::Time deadline = absl::InfiniteFuture();
  // When the scheduler thinks that the update will be there; for people and reports.
  std::optional<absl::Time> expected_at;
};

// Combine these updates, apply them and publish one version. The host answers with
// Published. Updates of work orders that are named in no close are kept until they are.
struct Close {
  GroupId group = 0;
  std::vector<WorkOrderId> updates;  // ascending; not empty; all accepted, each closed once
  // Empty: the combine rule's own weighted mean of the deltas. Else one for each update, finite
  // and >= 0: the combined delta is exactly Σ coefficient·delta, whatever their sum.
  std::vector<double> coefficients;
  // Coefficients weigh (trained − current model) and not (trained − base): the mixing of
  // whole models in FedAsync. A base that is no longer stored counts as current.
  bool mix_models = false;
  // The delta leaves no trace in the memory of a server optimizer with momentum and takes
  // nothing from it.
  bool beside_momentum = false;
};

struct Decision {
  std::vector<Close> close;           // applied before `dispatch`, in order
  std::vector<Dispatch> dispatch;     // work is done on the model after the closes
  std::vector<WorkOrderId> drop;      // accepted updates that will never be closed
  std::optional<absl::Time> wake_at;  // replaces the earlier wish; absent: keeps it
};

// Thread-compatible.
class Scheduler {
 public:
  virtual ~Scheduler() = default;

  virtual Decision Handle(const SchedulerEvent& event) = 0;

  // The whole state as JSON. Load(Save()) on a scheduler made with the same options
  // decides from then on as this one would. DataLoss for what Save did not write.
  virtual nlohmann::json Save() const = 0;
  virtual absl::Status Load(const nlohmann::json& state) = 0;

  // Counters for people: the `scheduler` object of summary.json.
  virtual nlohmann::json Stats() const = 0;

  // Whether its closes have coefficients: the combine rule must then be one that can do
  // without weights of its own.
  virtual bool SetsCoefficients() const { return false; }
  // Of one that sets them: whether what an update counts is in proportion to its num_examples.
  virtual bool CountsByExamples() const { return false; }
};

// What a scheduler is made from, beside its own options.
struct SchedulerDeps {
  Rng rng{0};
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_SCHEDULER_H_
