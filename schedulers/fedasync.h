// FedAsyncScheduler: every update moves the model at once, alone (Xie, Koyejo & Gupta 2019,
// "Asynchronous federated optimization", Algorithm 1).
//
//   model:  w <- (1 − α_t)·w + α_t·W        α_t = alpha · s(τ)
//   delta:  w <- w + α_t·(W − w_base)
//
//   W       the model that the client has trained, from w_base
//   τ       versions published between w_base and now; s as in common/staleness.h
//
// With τ = 0 both are the same. docs/algorithms/fedasync.md says when to choose it.
#ifndef TRIBUTARY_SCHEDULERS_FEDASYNC_H_
#define TRIBUTARY_SCHEDULERS_FEDASYNC_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "schedulers/asynchronous.h"

namespace tributary {

struct FedAsyncOptions {
  double alpha = 0.6;
  config::Choice staleness = PolynomialStaleness();
  std::string mixing = "model";
  std::optional<int64_t> max_staleness;
  std::optional<int64_t> max_concurrency;

  static void Describe(config::Fields<FedAsyncOptions>& fields);
};

class FedAsyncScheduler final : public AsyncScheduler {
 public:
  using Options = FedAsyncOptions;

  // InvalidArgument from the staleness function's options.
  static absl::StatusOr<std::unique_ptr<FedAsyncScheduler>> Create(const Options& options,
                                                                   const SchedulerDeps& deps);

 private:
  using AsyncScheduler::AsyncScheduler;
};

}  // namespace tributary

#endif  // TRIBUTARY_SCHEDULERS_FEDASYNC_H_
