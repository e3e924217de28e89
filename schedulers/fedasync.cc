#include "schedulers/fedasync.h"

#include <utility>

#include "common/status_macros.h"

namespace tributary {

void FedAsyncOptions::Describe(config::Fields<FedAsyncOptions>& fields) {
  fields
      .Add("alpha", &FedAsyncOptions::alpha, "share of a fresh update's model in the next version")
      .GreaterThan(0)
      .Max(1);
  fields
      .Add("mixing", &FedAsyncOptions::mixing,
           "what is mixed into the current model: the client's model, or its delta")
      .OneOf({"model", "delta"});
  DescribeAsync(fields);
}

absl::StatusOr<std::unique_ptr<FedAsyncScheduler>> FedAsyncScheduler::Create(
    const Options& options, const SchedulerDeps& deps) {
  TRIB_ASSIGN_OR_RETURN(auto staleness, StalenessRegistry().Create(options.staleness));
  const AsyncRules rules{.name = "fedasync",
                         .goal = 1,
                         .factor = options.alpha,
                         .mix_models = options.mixing == "model",
                         .max_staleness = options.max_staleness,
                         .max_concurrency = options.max_concurrency};
  return std::unique_ptr<FedAsyncScheduler>(
      new FedAsyncScheduler(rules, std::move(staleness), deps.rng));
}

}  // namespace tributary
