// The table of schedulers. See common/registry.h for what an entry needs.
#ifndef TRIBUTARY_SCHEDULERS_SCHEDULER_REGISTRY_H_
#define TRIBUTARY_SCHEDULERS_SCHEDULER_REGISTRY_H_

#include "common/registry.h"
#include "schedulers/scheduler.h"

namespace tributary {

const Registry<Scheduler, const SchedulerDeps&>& SchedulerRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_SCHEDULER_REGISTRY_H_
