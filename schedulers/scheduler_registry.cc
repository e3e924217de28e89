#include "schedulers/scheduler_registry.h"

#include "schedulers/sync_round.h"

namespace tributary {

const Registry<Scheduler, const SchedulerDeps&>& SchedulerRegistry() {
  using R = Registry<Scheduler, const SchedulerDeps&>;
  static const R* const registry = new R(
      "scheduler",
      {
          R::Of<SyncRoundScheduler>("sync_round", "synchronous rounds, cohort drawn at random"),
      });
  return *registry;
}

}  // namespace tributary
