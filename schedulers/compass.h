// CompassScheduler: FedCompass (Li et al. 2024, "FedCompass: efficient cross-silo federated
// learning on heterogeneous client devices using a computing power aware scheduler",
// Algorithms 1 and 2). Each client gets as many local steps as its measured speed allows, so
// that several clients of different speed arrive together; such an arrival group is combined as
// one. Different groups run side by side; late updates are kept and go with the next group.
//
//   check-in, unknown ──Q0 steps──> applied alone, at once ──┐
//                                                            v
//   ┌─────────────────────────────────────────────────── ASSIGN: join a group, or create one
//   │                                                        │ q steps
//   │   group closed: all are in, or its deadline     on time v late
//   └──<── Published ──<── waits for its group ──────────<───┴──> kept for the next close; ASSIGN
//
// The version that a group makes: w ← w + Σ a_u·delta_u, a_u = α·s(τ_u)·p_u
//
//   α    mixing_rate            s   staleness function (common/staleness.h)
//   τ_u  versions published between u's base and this close
//   p_u  1/m over the m clients present (or at least expected_clients); with `weights: examples`
//        n_u/(m·n̄), n̄ the mean over the clients that have reported
//
// Times are integer nanoseconds and ratios millionths, so that ties are exact. At one instant
// an update that arrives counts before a deadline; an arrival at the deadline is on time.
//
// docs/algorithms/scheduling.md compares it, and each of its extensions, with the others.
#ifndef TRIBUTARY_SCHEDULERS_COMPASS_H_
#define TRIBUTARY_SCHEDULERS_COMPASS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/staleness.h"
#include "schedulers/compass_options.h"
#include "schedulers/saved_state.h"
#include "schedulers/scheduler.h"
#include "schedulers/task_time.h"

namespace tributary {

class CompassScheduler final : public Scheduler {
 public:
  using Options = CompassOptions;

  // InvalidArgument as Options::Validate.
  static absl::StatusOr<std::unique_ptr<CompassScheduler>> Create(const Options& options,
                                                                  const SchedulerDeps& deps);

  Decision Handle(const SchedulerEvent& event) override;
  nlohmann::json Save() const override { return state_; }
  absl::Status Load(const nlohmann::json& state) override;
  bool SetsCoefficients() const override { return true; }
  bool CountsByExamples() const override { return options_.by_examples; }

  // groups (closed), groups_by_deadline, open_groups_max, joins, creations, first_updates,
  // late_updates, lost, speed_ratio (of a full task, slowest over fastest client, by estimate),
  // min_local_steps (as in force), warnings (texts).
  nlohmann::json Stats() const override;

 private:
  struct Arrival {
    WorkOrderId work_order = 0;
    ClientId client;
    Version base = 0;
    int64_t steps = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Arrival, work_order, client, base, steps)
  };
  struct Group {
    int64_t waiting = 0;                       // clients that work for it
    std::vector<ClientId> arrived;             // on time, in order of arrival
    std::vector<Arrival> updates;              // of those
    absl::btree_multiset<int64_t> full_tasks;  // of all these
    bool open = true;                          // else kept for its stragglers alone
    bool first = false;  // collects first updates: nobody joins it after the first arrival
    bool timed = true;   // has the two times below
    absl::Time expected_at;
    absl::Time latest_at;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Group, waiting, arrived, updates, full_tasks, open, first, timed,
                                   expected_at, latest_at)
  };
  enum class Place { kAway, kIdle, kWorking, kResting };  // resting: until its group is published
  struct Client {
    Place place = Place::kAway;
    GroupId group = 0;       // that it works for or rests in
    bool available = false;  // may be dispatched
    TaskTime time;
    int64_t updates = 0;
    int64_t examples = 0;  // of its latest update
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Client, place, group, available, time, updates, examples)
  };
  struct Counts {
    int64_t groups = 0, by_deadline = 0, open_max = 0, joins = 0, creations = 0, first = 0,
            late = 0, lost = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Counts, groups, by_deadline, open_max, joins, creations, first,
                                   late, lost)
  };
  struct State {
    absl::flat_hash_map<ClientId, Client> clients;
    // In order of creation. Who works for none of these has a first order, applied alone.
    std::map<GroupId, Group> groups;
    GroupId first_group = 0;                              // that newcomers belong to; 0: none yet
    std::map<GroupId, std::vector<ClientId>> publishing;  // closes; who is assigned then
    std::vector<Arrival> late;
    GroupId next_group = 1;
    Version version = 0;  // published
    int64_t present = 0;  // clients not away
    int64_t updates = 0;  // of those
    // Of those that have reported.
    int64_t reporters = 0, examples = 0;
    Counts counts;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(State, clients, groups, first_group, publishing, late,
                                   next_group, version, present, updates, reporters, examples,
                                   counts)
  };

  CompassScheduler(ResolvedCompassOptions options, std::unique_ptr<StalenessFunction> staleness)
      : options_(std::move(options)), staleness_(std::move(staleness)) {}

  void On(const CheckIn& e, absl::Time now, Decision& decision);
  void On(const CheckOut& e, absl::Time now, Decision& decision);
  void On(const UpdateAccepted& e, absl::Time now, Decision& decision);
  void On(const WorkLost& e, absl::Time now, Decision& decision);
  void On(const TimerFired& e, absl::Time now, Decision& decision);
  void On(const Published& e, absl::Time now, Decision& decision);

  void Move(Client& client, Place place, GroupId group);
  void Learn(Client& client, const UpdateAccepted& e);

  void StartFirst(const ClientId& id, Client& client, Decision& decision);
  void ArriveAlone(const UpdateAccepted& e, Client& client, Decision& decision);
  void ArriveInGroup(const UpdateAccepted& e, Client& client, Group& group, absl::Time now,
                     Decision& decision);
  void SetFirstDeadline(Group& group, const UpdateAccepted& e);

  void Assign(const ClientId& id, Client& client, absl::Time now, Decision& decision);
  bool Join(const ClientId& id, Client& client, absl::Time now, Decision& decision);
  void CreateGroup(const ClientId& id, Client& client, absl::Time now, Decision& decision);
  void Send(const ClientId& id, Client& client, GroupId group, int64_t steps, absl::Time now,
            Decision& decision);
  int64_t StepsToJoin(const Client& client, const Group& group, absl::Time now) const;

  GroupId NewGroup(Group group);
  int64_t FullTask(const Client& client) const;  // predicted nanoseconds of max_local_steps
  void Enter(Group& group, const Client& client);
  void Exit(Group& group, const Client& client);
  void CloseIfComplete(GroupId id, Decision& decision);
  void Finalize(GroupId id, Decision& decision);
  std::vector<ClientId> KnownBySpeed(std::vector<ClientId> ids) const;  // fastest first
  void Apply(GroupId id, std::vector<Arrival> batch, std::vector<ClientId> then_assign,
             Decision& decision);
  std::vector<double> Coefficients(const std::vector<Arrival>& batch) const;
  double Share(const ClientId& client) const;

  int64_t MinSteps() const;
  double SpeedRatio() const;

  const ResolvedCompassOptions options_;
  const std::unique_ptr<const StalenessFunction> staleness_;
  State state_;
  // Derived from state_: the groups that are open, the full tasks of the clients present.
  std::set<GroupId> open_;
  absl::btree_multiset<int64_t> full_tasks_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_COMPASS_H_
