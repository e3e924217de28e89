// LoraAggregator: clients' adapters -> what is added to the weights, and what adapter comes next.
//
//   TRIB_ASSIGN_OR_RETURN(auto aggregator, LoraAggregatorRegistry().Create(choice, deps));
//   for (each update, in work-order order) TRIB_RETURN_IF_ERROR(aggregator->Accumulate(update));
//   TRIB_ASSIGN_OR_RETURN(LoraAggregate aggregate, std::move(*aggregator).Finish());
//
// In the formulas of the rules k runs over the updates, p_k = w_k / Σ w_k are their weights, and
// a factor of lower rank is padded with zeros to the highest. s_k stands in one factor:
//
//   lora_stacking merges its sum into the weights. Clients start a fresh adapter each time, and
//   all the others but it keep one: client k starts from (B[:, :r_k] / s_k, A[:r_k, :]), see
//   common/lora/adapter_start.h, so that what it trained is the pair (s_k·B_k, A_k) of scale 1.
#ifndef TRIBUTARY_AGGREGATORS_LORA_LORA_AGGREGATOR_H_
#define TRIBUTARY_AGGREGATORS_LORA_LORA_AGGREGATOR_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregators/lora/adapter.h"
#include "common/ids.h"
#include "common/lora/low_rank.h"
#include "common/registry.h"

namespace tributary {

struct LoraAggregate {
  // What every replica adds to its frozen weights; empty: they stay.
  LowRankModel delta;
  // The adapter that clients go on from, scale 1; empty: a fresh one.
  LowRankModel start;
  // The clients' B in `start` is 0 and means nothing: each keeps its own.
  bool own_b = false;
  int64_t updates = 0;
  double weight = 0;  // Σ w_k
};

struct LoraDeps {
  AdapterSpec spec;     // without modules: only to check options
  LowRankModel start;   // the adapter that these clients started from; empty: fresh ones
  Version version = 0;  // that they trained on: rules that alternate ask for it
  // Weights are coefficients: they are not divided by their sum. InvalidArgument from rules that
  // average adapters, where they would shrink or blow up what clients go on from.
  bool given_coefficients = false;
};

// Thread-compatible.
class LoraAggregator {
 public:
  virtual ~LoraAggregator() = default;

  // Adds one update. InvalidArgument (see Accept; a weight that is not above 0 and finite) and
  // AlreadyExists (an order that was accumulated before) leave the state unchanged: the caller
  // refuses that update and goes on.
  absl::Status Accumulate(const AdapterUpdate& update);

  // FailedPrecondition if nothing was accumulated, or nothing that has a weight. Internal if a
  // decomposition fails. Ends this object's use.
  virtual absl::StatusOr<LoraAggregate> Finish() && = 0;

  AdapterFactors factors() const { return factors_; }  // that clients train and send

 protected:
  LoraAggregator(LoraDeps deps, AdapterFactors factors);

  // Every module of the spec is there.
  virtual void Add(double weight, AcceptedUpdate update) = 0;

  // FailedPrecondition if there was no update. The counts of the aggregate.
  absl::StatusOr<LoraAggregate> Counts() const;
  const LoraDeps& deps() const { return deps_; }

 private:
  const LoraDeps deps_;
  const AdapterFactors factors_;
  std::set<WorkOrderId> orders_;
  double weight_ = 0;
};

// What rules ask of their deps: InvalidArgument that names the rule. With a spec that has no module
// all is well: that is how options alone are checked.
absl::Status CheckDeps(const LoraDeps& deps);  // the spec, and that `start` fits to it
absl::Status CheckAverages(absl::string_view rule, const LoraDeps& deps);  // no coefficients given
absl::Status CheckOneRank(absl::string_view rule, const LoraDeps& deps);
absl::Status CheckStartIsWhole(absl::string_view rule, const LoraDeps& deps);  // has every module

// lora_stacking | lora_average | lora_zero_padding | ffa | hetlora | flexlora | fedex | lora_fair |
// rolora | fedsa
const Registry<LoraAggregator, const LoraDeps&>& LoraAggregatorRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_LORA_AGGREGATOR_H_
