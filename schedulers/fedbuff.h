// FedBuffScheduler: clients train asynchronously, and every `goal` updates make a version (Nguyen
// et al. 2022, "Federated learning with buffered asynchronous aggregation", Algorithms 1 and 2;
// concurrency and the choice of clients as in Papaya, Huba et al. 2022).
//
//   w <- w + η_g · (1/K) Σ s(τ_u)·delta_u
//
//   K       goal; a version is made of exactly K updates
//   η_g     the server's learning rate: aggregation.optimizer of the job
//   τ_u     versions published between u's base and the close; s as in common/staleness.h
//
// The sum is divided by K and not by Σ s: stale updates make smaller steps.
// docs/algorithms/fedbuff.md says when to choose it.
#ifndef TRIBUTARY_SCHEDULERS_FEDBUFF_H_
#define TRIBUTARY_SCHEDULERS_FEDBUFF_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "schedulers/asynchronous.h"

namespace tributary {

struct FedBuffOptions {
  int64_t goal = 10;
  config::Choice staleness = PolynomialStaleness();
  std::optional<int64_t> max_staleness;
  std::optional<int64_t> max_concurrency;

  static void Describe(config::Fields<FedBuffOptions>& fields);
};

class FedBuffScheduler final : public AsyncScheduler {
 public:
  using Options = FedBuffOptions;

  // InvalidArgument from the staleness function's options.
  static absl::StatusOr<std::unique_ptr<FedBuffScheduler>> Create(const Options& options,
                                                                  const SchedulerDeps& deps);

 private:
  using AsyncScheduler::AsyncScheduler;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_FEDBUFF_H_
