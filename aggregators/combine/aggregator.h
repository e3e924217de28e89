// Aggregator: updates -> one aggregate, streaming.
//
//   TRIB_ASSIGN_OR_RETURN(auto aggregator, AggregatorRegistry().Create(choice, deps));
//   for (each update, in work-order order) {
//     TRIB_RETURN_IF_ERROR(aggregator->Accumulate(update, about));
//   }
//   TRIB_ASSIGN_OR_RETURN(Aggregate aggregate, std::move(*aggregator).Finish());
//
// Memory is one model, whatever the number of updates. The sum of a coordinate runs over
// updates in the order of the Accumulate calls; callers use work-order order, so that the
// result depends neither on arrival nor on threads (docs/adr/0003).
#ifndef TRIBUTARY_AGGREGATORS_COMBINE_AGGREGATOR_H_
#define TRIBUTARY_AGGREGATORS_COMBINE_AGGREGATOR_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "aggregators/parallel.h"
#include "common/ids.h"
#include "common/params/param_vector.h"
#include "common/params/update.h"
#include "common/registry.h"

namespace tributary {

// What the coordinator knows of an update beside what the client says.
struct Contribution {
  ClientId client;
  int64_t staleness = 0;   // versions published between base and application
  double coefficient = 1;  // with AggregatorDeps::given_coefficients alone; finite, >= 0
};

struct Aggregate {
  // trainable: the combined delta; buffers: the combined values (not differences).
  ParamVector delta;
  int64_t updates = 0;
  int64_t num_examples = 0;
  double weight = 0;  // Σ of the weights used
  // The updates' squared norms, combined with the weights of the deltas; 0 unless asked for.
  double squared_norms = 0;
};

// Thread-compatible.
class Aggregator {
 public:
  virtual ~Aggregator() = default;

  // Adds one update. InvalidArgument (weight zero or negative or not finite, wrong buffer
  // count) leaves the state unchanged: the caller refuses that update and goes on.
  virtual absl::Status Accumulate(const Update& update, const Contribution& about) = 0;

  // Adds everything another aggregator of the same kind and layout has accumulated.
  // InvalidArgument if kind or layout differ.
  virtual absl::Status MergeFrom(const Aggregator& other) = 0;

  // The partial state: linear sums and counts. Restore(Serialize()) on a fresh aggregator
  // of the same kind and layout goes on as this one would, to the bit.
  virtual std::string Serialize() const = 0;
  virtual absl::Status Restore(absl::string_view state) = 0;  // DataLoss

  // Whether what an update counts is in proportion to its num_examples.
  virtual bool CountsByExamples() const { return false; }

  // FailedPrecondition if nothing was accumulated. Ends this object's use.
  virtual absl::StatusOr<Aggregate> Finish() && = 0;
};

struct AggregatorDeps {
  LayoutPtr layout;              // null: only to check options
  Parallel* parallel = nullptr;  // null: the calling thread
  // The scheduler says what each update counts: delta = Σ coefficient·delta_u, buffers = the
  // plain mean. The rule's own weights and staleness are not used. InvalidArgument from a rule
  // that has no such form.
  bool given_coefficients = false;
  // Aggregate::squared_norms is wanted, at the price of unpacking each delta twice.
  // InvalidArgument from a rule whose delta is no weighted sum.
  bool squared_norms = false;
};

const Registry<Aggregator, const AggregatorDeps&>& AggregatorRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_COMBINE_AGGREGATOR_H_
