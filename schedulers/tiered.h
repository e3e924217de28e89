// TieredScheduler: clients of about the same speed make synchronous rounds together, and these
// tiers do not wait for one another (FedAT: Chai et al. 2021, "FedAT: a high-performance and
// communication-efficient federated learning system with asynchronous tiers").
//
//   w <- (1 − c_m)·w + c_m·Σ (n_u/N)·W_u      c_m = T_{M+1−m} / T
//
//   m      the tier that has finished a round, of 1 (fastest) … M; u its updates, W_u their models
//   n_u    examples of u; N their sum
//   T_m    rounds of tier m so far; T their sum. Slow tiers, which rarely move the model, move
//          it further. 1/M for every tier until each has had a round.
//
// FedAT keeps the newest model w_m of each tier and serves Σ c_m·w_m. Here there is one
// model and the finished tier is mixed into it, so the older rounds of the others fade instead of
// being replaced.
//
// Everybody's first work order measures its round time. The first of all is a round of everybody
// who is there, closed as in FedAvg: the profile. After it, tiers are M groups of equal
// size, by round time; a client that comes later goes, with its first update, to the tier whose
// range fits. docs/algorithms/tiered.md says when to choose it.
#ifndef TRIBUTARY_SCHEDULERS_TIERED_H_
#define TRIBUTARY_SCHEDULERS_TIERED_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/config/schema.h"
#include "schedulers/client_set.h"
#include "schedulers/saved_state.h"
#include "schedulers/scheduler.h"

namespace tributary {

struct TieredOptions {
  int64_t tiers = 3;
  std::optional<int64_t> min_available;
  std::optional<int64_t> clients_per_tier_round;
  std::optional<int64_t> retier_versions;

  static void Describe(config::Fields<TieredOptions>& fields);
  absl::Status Validate() const;
};

class TieredScheduler final : public Scheduler {
 public:
  using Options = TieredOptions;

  // InvalidArgument as Options::Validate.
  static absl::StatusOr<std::unique_ptr<TieredScheduler>> Create(const Options& options,
                                                                 const SchedulerDeps& deps);

  Decision Handle(const SchedulerEvent& event) override;
  nlohmann::json Save() const override { return state_; }
  absl::Status Load(const nlohmann::json& state) override;
  bool SetsCoefficients() const override { return true; }
  bool CountsByExamples() const override { return true; }

  // closes, retierings, and for each tier: clients (all that were ever measured), rounds.
  nlohmann::json Stats() const override;

 private:
  // (round time in nanoseconds, client): a total order, so that equal times do not matter.
  using Pace = std::pair<int64_t, ClientId>;

  struct Tier {
    ClientSet available;                      // checked in, not dispatched since
    GroupId group = 0;                        // of its open round; 0: none
    int64_t outstanding = 0;                  // orders of that round not yet answered
    std::map<WorkOrderId, int64_t> received;  // its updates and their examples
    int64_t rounds = 0;                       // T_m
    int64_t clients = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Tier, available, group, outstanding, received, rounds, clients)
  };
  struct Member {
    int64_t round_ns = 0;  // as measured last
    size_t tier = 0;
    bool present =
        true;  // not checked out, and its last order not lost, since it was last heard of
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Member, round_ns, tier, present)
  };
  struct Order {
    GroupId group = 0;
    size_t tier = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Order, group, tier)
  };
  struct State {
    Rng rng{0};
    std::vector<Tier> tiers = {Tier()};  // 0: clients without a tier, which are to be measured
    std::vector<Pace> bounds;            // the slowest of each tier but the last
    absl::flat_hash_map<ClientId, Member> members;  // everybody who was ever measured
    absl::flat_hash_map<ClientId, Order> busy;
    GroupId group = 0;  // last given
    int64_t closes = 0, retierings = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(State, rng, tiers, bounds, members, busy, group, closes,
                                   retierings)
  };
  static bool IsSound(const State& state);

  TieredScheduler(const Options& options, const Rng& rng) : options_(options) { state_.rng = rng; }

  void On(const CheckIn& e, absl::Time now, Decision& decision);
  void On(const CheckOut& e, absl::Time now, Decision& decision);
  void On(const UpdateAccepted& e, absl::Time now, Decision& decision);
  void On(const WorkLost& e, absl::Time now, Decision& decision);
  void On(const TimerFired& e, absl::Time now, Decision& decision);
  void On(const Published&, absl::Time, Decision&) {}

  bool HasTiers() const { return state_.tiers.size() > 1; }
  Member* FindMember(const ClientId& client);  // nullptr: never measured
  Tier& HomeOf(const ClientId& client);        // where it waits for work
  size_t TierOf(const Pace& pace) const;       // whose range fits
  double Weight(size_t tier) const;            // c_m
  bool MayStart(size_t tier) const;            // a round of it, or the measuring of newcomers
  std::optional<Order> Release(const ClientId& client, GroupId group);

  void StartRound(size_t tier, absl::Time now, Decision& decision);
  void CloseIfComplete(size_t tier, Decision& decision);
  void MakeTiersIfDue();
  void MakeTiers(std::vector<Pace> present);

  const Options options_;
  State state_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_TIERED_H_
