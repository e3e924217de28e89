// SyncRoundScheduler: synchronous rounds (FedAvg, McMahan et al. 2017, Algorithm 1; over-
// selection as in Bonawitz et al. 2019, section 2.2).
//
//   idle ──enough available──> open ──goal reached, or deadline, or nothing left──> publishing
//    ^                          │ deadline with fewer than min_reports                   │
//    └──────── round failed ────┴────────────────────── Published ───────────────────────┘
//
// A round asks ceil(over_selection · goal) clients and closes when `goal` updates are there.
// At the deadline it closes with what came if that is at least min_reports; otherwise the
// round has failed, its updates are dropped and the next one starts. A straggler's update is
// dropped when it comes; the straggler itself is free again when it checks in.
//
// docs/algorithms/sync_round.md says when to choose it.
#ifndef TRIBUTARY_SCHEDULERS_SYNC_ROUND_H_
#define TRIBUTARY_SCHEDULERS_SYNC_ROUND_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "common/config/schema.h"
#include "schedulers/client_set.h"
#include "schedulers/scheduler.h"

namespace tributary {

struct SyncRoundOptions {
  int64_t clients_per_round = 10;
  std::optional<double> fraction;
  std::optional<int64_t> min_reports;
  absl::Duration deadline_seconds = absl::Minutes(10);
  double over_selection = 1.0;
  std::optional<int64_t> min_available;
  std::string on_loss = "replace";

  static void Describe(config::Fields<SyncRoundOptions>& fields);
  absl::Status Validate() const;
};

// Draws from the sorted list of available clients, on TimerFired, so that a round's cohort
// does not depend on the order in which clients of one instant check in.
class SyncRoundScheduler final : public Scheduler {
 public:
  using Options = SyncRoundOptions;

  // InvalidArgument as Options::Validate.
  static absl::StatusOr<std::unique_ptr<SyncRoundScheduler>> Create(const Options& options,
                                                                    const SchedulerDeps& deps);

  Decision Handle(const SchedulerEvent& event) override;
  nlohmann::json Save() const override;
  absl::Status Load(const nlohmann::json& state) override;

  // rounds (closed), failed_rounds, replaced, late_dropped (stragglers' updates).
  nlohmann::json Stats() const override;

 private:
  enum class Phase { kIdle, kOpen, kPublishing };

  struct State {
    Rng rng{0};
    ClientSet available;               // checked in, not dispatched since
    std::map<ClientId, GroupId> busy;  // with a work order, of this round or an older one
    Phase phase = Phase::kIdle;
    GroupId round = 0;                  // from 1; its number is its group
    int64_t goal = 0;                   // updates that close the round
    int64_t asked = 0;                  // orders that the round wants answered
    int64_t outstanding = 0;            // orders of this round not yet answered
    absl::Time deadline;                // of the open round
    std::map<ClientId, int64_t> tries;  // orders that each client had in this round
    std::set<WorkOrderId> received;     // accepted in this round
    int64_t rounds = 0, failed_rounds = 0, replaced = 0, late_dropped = 0;

    nlohmann::json ToJson() const;
    static State FromJson(const nlohmann::json& json);  // throws nlohmann's exceptions
    bool IsSound() const;
  };

  SyncRoundScheduler(Options options, const Rng& rng) : options_(std::move(options)) {
    state_.rng = rng;
  }

  void On(const CheckIn& e, absl::Time now, Decision& decision);
  void On(const CheckOut& e, absl::Time now, Decision& decision);
  void On(const UpdateAccepted& e, absl::Time now, Decision& decision);
  void On(const WorkLost& e, absl::Time now, Decision& decision);
  void On(const TimerFired& e, absl::Time now, Decision& decision);
  void On(const Published& e, absl::Time now, Decision& decision);

  int64_t GoalNow() const;  // of a round that would start now
  int64_t Received() const;
  int64_t MinReports() const;    // of the open round
  bool EnoughAvailable() const;  // to start a round
  bool OwesReplacement() const;
  bool Release(const ClientId& client, GroupId group);  // true: an order of the open round ended

  void StartRound(absl::Time now, Decision& decision);
  void Replace(Decision& decision);
  void Send(const ClientId& client, Decision& decision);
  void CloseRound(Decision& decision);
  void FailRound(Decision& decision);
  void EndRound(Phase next);
  void CloseIfComplete(Decision& decision);

  const Options options_;
  State state_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_SYNC_ROUND_H_
