// RoundScheduler: what sync_round and deadline share: synchronous rounds (FedAvg, McMahan et
// al. 2017, Algorithm 1; over-selection as in Bonawitz et al. 2019, section 2.2).
//
//   idle ──enough available──> open ──goal reached, or deadline, or nothing left──> publishing
//    ^                          │ deadline with fewer than min_reports                   │
//    └──────── round failed ────┴────────────────────── Published ───────────────────────┘
//
// A round asks ceil(over_selection · goal) clients and closes when `goal` updates are there.
// At the deadline it closes with what came if that is at least min_reports; otherwise the
// round has failed. What comes after its round is late, and so are a failed round's updates:
// they are dropped, or folded: they wait, go into the next close and count for min_reports,
// not for the goal. A straggler is free again when it checks in.
#ifndef TRIBUTARY_SCHEDULERS_ROUNDS_H_
#define TRIBUTARY_SCHEDULERS_ROUNDS_H_

#include <cstdint>
#include <optional>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "common/config/schema.h"
#include "schedulers/client_set.h"
#include "schedulers/saved_state.h"
#include "schedulers/scheduler.h"

namespace tributary {

struct RoundRules {
  absl::string_view name;         // of the scheduler
  int64_t clients_per_round = 1;  // the goal
  std::optional<double> fraction;
  std::optional<int64_t> min_reports;    // absent: the goal
  std::optional<int64_t> min_available;  // absent: the goal
  absl::Duration deadline;               // from the start of a round
  double over_selection = 1;
  bool replace_lost = true;
  bool fold_late = false;

  // InvalidArgument naming the options that contradict one another.
  absl::Status Validate() const;
};

// The options that both have; T has members of these names.
template <typename T>
void DescribeRounds(config::Fields<T>& fields) {
  fields.Add("clients_per_round", &T::clients_per_round, "updates that complete a round: its goal")
      .Min(1);
  fields
      .Add("fraction", &T::fraction,
           "instead of clients_per_round: the share of the clients known when the round starts")
      .GreaterThan(0)
      .Max(1);
  fields
      .Add("deadline_seconds", &T::deadline_seconds,
           "time from the start of a round until it closes or fails")
      .GreaterThan(0)
      .Max(31536000);
  fields.Add("over_selection", &T::over_selection, "clients asked for each update of the goal")
      .Min(1)
      .Max(100);
}

// Draws from the sorted list of available clients, on TimerFired, so that a round's cohort
// does not depend on the order in which clients of one instant check in.
class RoundScheduler : public Scheduler {
 public:
  Decision Handle(const SchedulerEvent& event) override;
  nlohmann::json Save() const override { return state_; }
  absl::Status Load(const nlohmann::json& state) override;

  // rounds (closed), failed_rounds, replaced, and late_dropped or late_folded.
  nlohmann::json Stats() const override;

 protected:
  RoundScheduler(RoundRules rules, const Rng& rng) : rules_(rules) { state_.rng = rng; }

 private:
  enum class Phase { kIdle, kOpen, kPublishing };

  struct State {
    Rng rng{0};
    ClientSet available;  // checked in, not dispatched since
    // With a work order, of this round or an older one.
    absl::flat_hash_map<ClientId, GroupId> busy;
    Phase phase = Phase::kIdle;
    GroupId round = 0;                             // from 1; its number is its group
    int64_t goal = 0;                              // updates that close the round
    int64_t asked = 0;                             // orders that the round wants answered
    int64_t outstanding = 0;                       // orders of this round not yet answered
    absl::Time deadline = absl::UnixEpoch();       // of the open round
    absl::flat_hash_map<ClientId, int64_t> tries;  // orders that each client had in this round
    absl::btree_set<WorkOrderId> received;         // accepted in this round
    absl::btree_set<WorkOrderId> late;             // folded into the next close
    int64_t rounds = 0, failed_rounds = 0, replaced = 0, late_updates = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(State, rng, available, busy, phase, round, goal, asked,
                                   outstanding, deadline, tries, received, late, rounds,
                                   failed_rounds, replaced, late_updates)
  };
  static bool IsSound(const State& state);

  void On(const CheckIn& e, absl::Time now, Decision& decision);
  void On(const CheckOut& e, absl::Time now, Decision& decision);
  void On(const UpdateAccepted& e, absl::Time now, Decision& decision);
  void On(const WorkLost& e, absl::Time now, Decision& decision);
  void On(const TimerFired& e, absl::Time now, Decision& decision);
  void On(const Published& e, absl::Time now, Decision& decision);

  int64_t GoalNow() const;  // of a round that would start now
  int64_t Received() const;
  bool EnoughReports() const;    // to close the open round before its goal
  bool EnoughAvailable() const;  // to start a round
  bool OwesReplacement() const;
  bool Release(const ClientId& client, GroupId group);  // true: an order of the open round ended
  void BeLate(WorkOrderId update, Decision& decision);

  void StartRound(absl::Time now, Decision& decision);
  void Replace(Decision& decision);
  void Send(const ClientId& client, Decision& decision);
  void CloseRound(Decision& decision);
  void FailRound(Decision& decision);
  void EndRound(Phase next);
  void CloseIfComplete(Decision& decision);

  const RoundRules rules_;
  State state_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_ROUNDS_H_
