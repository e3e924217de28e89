// AsyncScheduler: what fedasync and fedbuff share. Nobody waits for anybody: a client that has
// delivered is given work again, and the model moves whenever `goal` updates are there.
//
//   close:  coefficient_u = factor · s(τ_u)      τ_u = versions between u's base and the close
//
// s is the staleness function (common/staleness.h). τ counts own closes that are not published
// yet, so it is the staleness at application. Work is dispatched at the end of an instant,
// drawn from the sorted list of available clients: who trains does not depend on the order in
// which clients of one instant check in, and the model is that of the instant's last close. Its
// group is the close that is being collected then; the update may go into a later one.
#ifndef TRIBUTARY_SCHEDULERS_ASYNCHRONOUS_H_
#define TRIBUTARY_SCHEDULERS_ASYNCHRONOUS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "absl/container/flat_hash_set.h"
#include "common/config/schema.h"
#include "common/staleness.h"
#include "schedulers/client_set.h"
#include "schedulers/saved_state.h"
#include "schedulers/scheduler.h"

namespace tributary {

struct AsyncRules {
  absl::string_view name;  // of the scheduler
  int64_t goal = 1;        // updates of a close
  double factor = 1;
  bool mix_models = false;
  std::optional<int64_t> max_staleness;    // older updates are dropped when they come
  std::optional<int64_t> max_concurrency;  // work orders out at a time
};

// The options that both have; T has members of these names.
template <typename T>
void DescribeAsync(config::Fields<T>& fields) {
  fields
      .Add("staleness", &T::staleness, "factor on the weight of an update that is versions behind")
      .Alternatives(StalenessRegistry().Alternatives());
  fields
      .Add("max_staleness", &T::max_staleness,
           "updates more versions behind are dropped; absent: none")
      .Min(0);
  fields
      .Add("max_concurrency", &T::max_concurrency,
           "clients that train at a time, drawn at random; absent: all")
      .Min(1);
}

class AsyncScheduler : public Scheduler {
 public:
  Decision Handle(const SchedulerEvent& event) override;
  nlohmann::json Save() const override { return state_; }
  absl::Status Load(const nlohmann::json& state) override;
  bool SetsCoefficients() const override { return true; }

  // closes, dropped_stale, max_concurrency_seen.
  nlohmann::json Stats() const override;

 protected:
  AsyncScheduler(AsyncRules rules, std::unique_ptr<const StalenessFunction> staleness,
                 const Rng& rng)
      : rules_(rules), staleness_(std::move(staleness)) {
    state_.rng = rng;
  }

 private:
  struct State {
    Rng rng{0};
    ClientSet available;                    // may be given work
    absl::flat_hash_set<ClientId> busy;     // with a work order
    Version version = 0;                    // newest that is known to be published
    int64_t unpublished = 0;                // own closes that are not
    GroupId group = 1;                      // of the next close
    std::map<WorkOrderId, Version> buffer;  // updates for it, and their bases
    int64_t closes = 0, dropped_stale = 0, max_concurrency_seen = 0;
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(State, rng, available, busy, version, unpublished, group, buffer,
                                   closes, dropped_stale, max_concurrency_seen)
  };

  void On(const CheckIn& e, Decision& decision);
  void On(const CheckOut& e, Decision& decision);
  void On(const UpdateAccepted& e, Decision& decision);
  void On(const WorkLost& e, Decision& decision);
  void On(const TimerFired& e, Decision& decision);
  void On(const Published& e, Decision& decision);

  bool IsSound(const State& state) const;
  int64_t Dispatchable() const;  // clients that could be given work now
  int64_t StalenessOf(Version base) const { return state_.version + state_.unpublished - base; }
  void CloseBuffer(Decision& decision);

  const AsyncRules rules_;
  const std::unique_ptr<const StalenessFunction> staleness_;
  State state_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_ASYNCHRONOUS_H_
