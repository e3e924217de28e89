#include "schedulers/scheduler_registry.h"

#include "schedulers/compass.h"
#include "schedulers/deadline.h"
#include "schedulers/fedasync.h"
#include "schedulers/fedbuff.h"
#include "schedulers/sync_round.h"
#include "schedulers/tiered.h"

namespace tributary {

const Registry<Scheduler, const SchedulerDeps&>& SchedulerRegistry() {
  using R = Registry<Scheduler, const SchedulerDeps&>;
  static const R* const registry = new R(
      "scheduler",
      {
          R::Of<CompassScheduler>("compass",
                                  "as many steps as a client's speed allows (FedCompass)"),
          R::Of<DeadlineScheduler>("deadline", "rounds that do not wait for stragglers"),
          R::Of<FedAsyncScheduler>("fedasync", "every update makes a version"),
          R::Of<FedBuffScheduler>("fedbuff", "every `goal` updates make a version"),
          R::Of<SyncRoundScheduler>("sync_round", "synchronous rounds, cohort drawn at random"),
          R::Of<TieredScheduler>("tiered", "rounds among clients of about the same speed (FedAT)"),
      });
  return *registry;
}

}  // namespace tributary
