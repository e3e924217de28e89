// Workload: does the real work behind the virtual clients' work orders: makes the first model,
// trains, evaluates. What happens when is not its business: that is virtual time's.
#ifndef TRIBUTARY_SIMULATOR_WORKLOAD_H_
#define TRIBUTARY_SIMULATOR_WORKLOAD_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client_sdk/trainer.h"
#include "common/codec/error_feedback.h"
#include "common/params/collection.h"
#include "common/params/param_vector.h"
#include "server/coordinator/events.h"

namespace tributary {

struct WorkloadTask {
  int64_t client = 0;  // its index; the number of clients: the evaluator, with the test set
  WorkOrder order;
  int64_t steps = 0;                        // planned; training only
  std::shared_ptr<const ParamVector> base;  // what is trained or evaluated; null for a first model
  std::shared_ptr<const ParamVector> previous;  // the version before it, where the order wants it
  std::shared_ptr<const Mask> mask;             // of the base; null: nothing is pruned
  // What stayed with the client of its last accepted update: what the codec left out, for error
  // feedback, or its own factor of an adapter (common/codec/adapter_update.h); null: nothing.
  std::shared_ptr<const Residual> residual;
  absl::Time needed_at;  // virtual: of the tasks that wait, the one needed first goes first
};

struct TrainedUpdate {
  TrainResult result;
  std::string payload;                       // trained − base, in the job's codec
  std::shared_ptr<const Residual> residual;  // what stays with the client; null: nothing
};

// A result to come: called once, it waits for it. Destroyed before that, the result is not wanted,
// and the work on it stops soon. The workload outlives it.
template <typename T>
using Pending = absl::AnyInvocable<absl::StatusOr<T>() &&>;

// Thread-compatible. A result is a function of the task alone, of its client, order, base and
// residual. Errors of a task as in TorchWorker.
class Workload {
 public:
  virtual ~Workload() = default;

  virtual int64_t Examples(int64_t client, int64_t task) const = 0;  // that it trains on
  virtual int64_t TrainFlopsPerExample() const = 0;
  // InvalidArgument: the job cannot start from this model.
  virtual absl::Status CheckModel(const ParamVector& model) const = 0;

  virtual Pending<ParamVector> MakeFirstModel(WorkloadTask task) = 0;
  virtual Pending<TrainedUpdate> Train(WorkloadTask task) = 0;
  // Of each task of the order, in their order.
  virtual Pending<std::vector<EvalResult>> Evaluate(WorkloadTask task) = 0;
  // What an explore or sketch order asks for; its payload is dense, of the request's layout.
  virtual Pending<TrainedUpdate> Contribute(WorkloadTask task, CollectRequest request) = 0;

  // CPU time spent on tasks so far; for measurements.
  virtual absl::Duration cpu_time() const = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_WORKLOAD_H_
