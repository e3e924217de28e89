// Pipeline: combine -> transforms in order -> optimise -> hypergradient. The only place that knows
// the order, and that refuses orders that are unsound, with the reason.
//
//   TRIB_ASSIGN_OR_RETURN(auto pipeline, Pipeline::Create(spec, layout, parallel));
//   TRIB_ASSIGN_OR_RETURN(auto aggregator, pipeline->NewAggregator());
//   …Accumulate…
//   TRIB_ASSIGN_OR_RETURN(auto applied, pipeline->Apply(std::move(aggregator), version,
//   add_model));
#ifndef TRIBUTARY_AGGREGATORS_PIPELINE_H_
#define TRIBUTARY_AGGREGATORS_PIPELINE_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "aggregators/combine/aggregator.h"
#include "aggregators/combine/update_weights.h"
#include "aggregators/effect.h"
#include "aggregators/lora/delivery.h"
#include "aggregators/lora/lora_aggregator.h"
#include "aggregators/optimize/server_optimizer.h"
#include "aggregators/transform/update_transform.h"
#include "common/config/schema.h"
#include "common/lora/lora_plan.h"

namespace tributary {

// The `aggregation:` section of a job.
struct AggregationSpec {
  config::Choice combine;                  // default fedavg
  std::vector<config::Choice> transforms;  // default none
  config::Choice optimizer;                // default sgd with rate 1
  // A server optimizer of its own after `optimizer`, whose step it scales. Not a field of the
  // section: a job's other sections say it.
  std::optional<config::Choice> hypergradient;

  static void Describe(config::Fields<AggregationSpec>& fields);
  // Refuses unsound orders: InvalidArgument with the reason and the remedy. Of adapters, also steps
  // that they do not go with.
  absl::Status Validate() const;
  bool combines_adapters() const { return IsLoraRule(combine.name); }
  AggregationSpec();  // the defaults, complete
};

// What happens between the combined delta and the model, in order.
struct PipelineStep {
  std::string name;  // "clip"
  Effect effect;
  bool learns_again = false;  // and changes the model then, while it is trained
};

// InvalidArgument with the reason and the remedy: a transform that stands twice, or a step
// that would undo an earlier one (a projection is the last step that is more than a factor).
absl::Status CheckSoundOrder(absl::Span<const PipelineStep> steps);

// Over all optimizers.
struct Rates {
  double server = 1.0;   // what the last delta was multiplied with, or the next one will be
  double clients = 1.0;  // ServerOptimizer::client_rate, for training from now on
};

// What a version of a job with adapters changes.
struct AdaptersApplied {
  ModelDelta weights;   // what every replica adds to its frozen weights
  ParamVector adapter;  // the next one that the model keeps; empty: it keeps none
  int64_t updates = 0;
  double delta_norm = 0;  // of what was combined, before transforms
  Delivered delivered;    // without its modules
};

struct Applied {
  ParamVector model;  // the next one
  int64_t updates = 0;
  int64_t num_examples = 0;
  double delta_norm = 0;  // of the combined delta, before transforms
  // With adapters: Delivered's.
  double tail_energy = 0;
  double dropped_energy = 0;
};

// One for a job's life: it holds the transforms' and the optimizer's state.
// Thread-compatible.
class Pipeline {
 public:
  // `adapters`: the plan of a job whose combine rule combines those; `layout` is then not used.
  static absl::StatusOr<std::unique_ptr<Pipeline>> Create(
      const AggregationSpec& spec, LayoutPtr layout, Parallel* parallel = nullptr,
      std::shared_ptr<const LoraPlan> adapters = nullptr);

  // `given_coefficients` as in AggregatorDeps.
  absl::StatusOr<std::unique_ptr<Aggregator>> NewAggregator(bool given_coefficients = false) const;

  // Adds a model's trainable values to those in its argument, which is as long.
  using AddModel = std::function<absl::Status(absl::Span<float>)>;

  // Makes the version after `version`, whose model `add_model` adds: once, to the step, so that
  // one model's worth of memory is enough. OutOfRange if the delta or the next model is not
  // finite. On an error the state may be half changed: reload it. `beside_momentum`: the
  // optimizers take a StepBesideMomentum. `origin`: without its norms.
  absl::StatusOr<Applied> Apply(std::unique_ptr<Aggregator> aggregator, Version version,
                                const AddModel& add_model, bool beside_momentum = false,
                                DeltaOrigin origin = {});

  // The same for adapters, in their place. `kept`: the adapter that `version` keeps.
  absl::StatusOr<std::unique_ptr<LoraAggregator>> NewAdapterAggregator(
      const LowRankModel& kept, Version version, bool given_coefficients) const;
  // What each of them counts, by the rule's options.
  absl::StatusOr<UpdateWeights> AdapterWeights(bool given_coefficients) const;
  // `fresh`: for rows of the next adapter that nobody has trained.
  absl::StatusOr<AdaptersApplied> ApplyAdapters(std::unique_ptr<LoraAggregator> aggregator,
                                                const LowRankModel& kept, Version version,
                                                Rng fresh, bool beside_momentum = false,
                                                DeltaOrigin origin = {});

  // What the transform asks for that learns from such a collection; null: none does. Constant.
  const CollectRequest* collects(CollectKind kind) const;

  // UpdateTransform::Learn of that transform; then, for the optimizer, a new epoch begins. `model`:
  // the trainable values of `version`. FailedPrecondition: no transform learns from this. On
  // another error as Apply.
  absl::Status Learn(CollectKind kind, absl::Span<const double> sum, int64_t contributions,
                     absl::Span<float> model, Version version);

  // The coordinates that the job keeps; null: all.
  std::shared_ptr<const Mask> mask() const;

  Rates rates() const;

  // Names are "transform.0.…", "optimizer.…" and "hypergradient.…".
  StateRefs State();
  // After the state was read back in place. DataLoss.
  absl::Status Restored();

 private:
  Pipeline() = default;
  // Takes out of a vector what no delta may contain.
  absl::Status Project(absl::Span<float> vector, Version version);

  UpdateTransform* Learner(CollectKind kind) const;
  absl::Status UseAdapters(std::shared_ptr<const LoraPlan> adapters);
  // `sum` becomes the step, and what is sent of it.
  absl::StatusOr<Delivered> StepLowRank(LowRankModel& sum, Version version, bool beside_momentum,
                                        const DeltaOrigin& origin);
  // The delta becomes the step.
  absl::Status Optimise(absl::Span<float> delta, const DeltaOrigin& origin, bool beside_momentum);

  AggregationSpec spec_;
  LayoutPtr layout_;
  Parallel* parallel_ = nullptr;
  std::vector<std::unique_ptr<UpdateTransform>> transforms_;
  std::vector<std::pair<std::string, std::unique_ptr<ServerOptimizer>>> optimizers_;  // in order
  // With adapters:
  std::shared_ptr<const LoraPlan> plan_;
  UpdateWeightOptions weights_;
  std::unique_ptr<LoraDelivery> delivery_;  // null: the weights stay
  ParamVector tail_;                        // the delivery's, as state
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_PIPELINE_H_
