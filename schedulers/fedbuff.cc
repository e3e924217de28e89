#include "schedulers/fedbuff.h"

#include <utility>

#include "common/status_macros.h"

namespace tributary {

void FedBuffOptions::Describe(config::Fields<FedBuffOptions>& fields) {
  fields.Add("goal", &FedBuffOptions::goal, "updates that make a version").Min(1);
  DescribeAsync(fields);
}

absl::StatusOr<std::unique_ptr<FedBuffScheduler>> FedBuffScheduler::Create(
    const Options& options, const SchedulerDeps& deps) {
  TRIB_ASSIGN_OR_RETURN(auto staleness, StalenessRegistry().Create(options.staleness));
  const AsyncRules rules{.name = "fedbuff",
                         .goal = options.goal,
                         .factor = 1.0 / static_cast<double>(options.goal),
                         .mix_models = false,
                         .max_staleness = options.max_staleness,
                         .max_concurrency = options.max_concurrency};
  return std::unique_ptr<FedBuffScheduler>(
      new FedBuffScheduler(rules, std::move(staleness), deps.rng));
}

}  // namespace tributary
