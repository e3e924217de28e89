#include "aggregators/pipeline.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregators/adapter_pipeline.h"
#include "aggregators/combine/fedavg.h"
#include "aggregators/lora/low_rank_state.h"
#include "aggregators/optimize/sgd.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// Pairs of effects of which the later one may not follow the earlier one, near or far.
struct UnsoundPair {
  Effect earlier;
  Effect later;
  absl::string_view reason;
  absl::string_view remedy;
};
constexpr UnsoundPair kUnsoundPairs[] = {
    {Effect::kProjects, Effect::kReshapes, "brings back directions that the projection removed",
     "let only steps that scale the whole delta (clip, optimizer sgd) follow the projection"},
    {Effect::kProjects, Effect::kMasks, "brings back directions that the projection removed",
     "let the mask stand before the projection, which then satisfies both"},
};

absl::Status CheckFiniteModel(const ParamVector& model, Parallel* parallel) {
  if (std::isfinite(SquaredNorm(model.values(), parallel))) return absl::OkStatus();
  return WithContext(CheckFinite(*model.layout(), model.values()), "the next model");
}

absl::Status TwoHypergradients() {
  return absl::InvalidArgumentError(
      "optimizer hypergradient beside the job's hypergradient: both rates follow the same product "
      "of deltas (variant server_local too), so that a step grows with its square; keep one of "
      "them");
}

void AddNamed(absl::string_view prefix, const StateRefs& from, StateRefs& to) {
  for (const auto& [name, vector] : from.vectors) to.vectors[absl::StrCat(prefix, name)] = vector;
  for (const auto& [name, scalar] : from.scalars) to.scalars[absl::StrCat(prefix, name)] = scalar;
}

}  // namespace

AggregationSpec::AggregationSpec()
    : combine{.name = "fedavg", .options = config::Print(UpdateWeightOptions{}), .position = {}},
      optimizer{.name = "sgd", .options = config::Print(SgdOptions{}), .position = {}} {}

void AggregationSpec::Describe(config::Fields<AggregationSpec>& fields) {
  std::vector<config::Alternative> rules = AggregatorRegistry().Alternatives();
  std::ranges::move(LoraAggregatorRegistry().Alternatives(), std::back_inserter(rules));
  fields.Add("combine", &AggregationSpec::combine, "how updates become one delta")
      .Alternatives(std::move(rules));
  fields.Add("transforms", &AggregationSpec::transforms, "what is done to that delta, in order")
      .Alternatives(TransformRegistry().Alternatives());
  fields.Add("optimizer", &AggregationSpec::optimizer, "how the delta changes the model")
      .Alternatives(OptimizerRegistry().Alternatives());
}

absl::Status AggregationSpec::Validate() const {
  std::vector<PipelineStep> steps;
  for (const config::Choice& choice : transforms) {
    TRIB_ASSIGN_OR_RETURN(const auto transform, TransformRegistry().Create(choice, {}));
    const CollectRequest* const request = transform->collects();
    steps.push_back({.name = choice.name,
                     .effect = transform->effect(),
                     .learns_again = request != nullptr && request->every_versions > 0});
  }
  TRIB_ASSIGN_OR_RETURN(const auto server_optimizer, OptimizerRegistry().Create(optimizer, {}));
  steps.push_back({absl::StrCat("optimizer ", optimizer.name), server_optimizer->effect()});
  if (hypergradient) {
    TRIB_ASSIGN_OR_RETURN(const auto rate, OptimizerRegistry().Create(*hypergradient, {}));
    steps.push_back({hypergradient->name, rate->effect()});
    if (optimizer.name == hypergradient->name) return TwoHypergradients();
  }
  TRIB_RETURN_IF_ERROR(CheckSoundOrder(steps));
  if (combines_adapters()) return CheckAdapterPipeline(*this);
  const AggregatorDeps deps{.layout = nullptr,
                            .squared_norms = server_optimizer->uses_squared_norms()};
  return WithContext(AggregatorRegistry().Create(combine, deps).status(),
                     absl::StrCat("combine ", combine.name));
}

absl::Status CheckSoundOrder(absl::Span<const PipelineStep> steps) {
  std::set<std::string> seen;
  for (auto later = steps.begin(); later != steps.end(); ++later) {
    if (!seen.insert(later->name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("transforms: ", later->name, " stands twice; name it once"));
    }
    for (auto earlier = steps.begin(); earlier != later; ++earlier) {
      if (earlier->learns_again && later->effect == Effect::kProjects) {
        return absl::InvalidArgumentError(absl::StrCat(
            earlier->name, " with every_versions before ", later->name,
            ": pruning a weight later is a change of the model that no projection has seen; leave "
            "every_versions out, so that the mask is learnt once, before the first task"));
      }
      for (const UnsoundPair& pair : kUnsoundPairs) {
        if (pair.earlier != earlier->effect || pair.later != later->effect) continue;
        return absl::InvalidArgumentError(absl::StrCat(later->name, " after ", earlier->name, " ",
                                                       pair.reason, "; ", pair.remedy));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Pipeline>> Pipeline::Create(
    const AggregationSpec& spec, LayoutPtr layout, Parallel* parallel,
    std::shared_ptr<const LoraPlan> adapters) {
  TRIB_RETURN_IF_ERROR(spec.Validate());
  std::unique_ptr<Pipeline> pipeline(new Pipeline());
  if (adapters) {
    layout = adapters->rule().keeps_adapter ? adapters->AdapterLayout(adapters->spec().max_rank())
                                            : adapters->ordinary();
  }
  for (const config::Choice& choice : spec.transforms) {
    TRIB_ASSIGN_OR_RETURN(auto transform,
                          TransformRegistry().Create(choice, {layout, parallel, adapters}));
    pipeline->transforms_.push_back(std::move(transform));
  }
  TRIB_ASSIGN_OR_RETURN(auto optimizer,
                        OptimizerRegistry().Create(spec.optimizer, {layout, parallel}));
  pipeline->optimizers_.emplace_back("optimizer.", std::move(optimizer));
  if (spec.hypergradient) {
    TRIB_ASSIGN_OR_RETURN(auto rate,
                          OptimizerRegistry().Create(*spec.hypergradient, {layout, parallel}));
    pipeline->optimizers_.emplace_back("hypergradient.", std::move(rate));
  }
  pipeline->spec_ = spec;
  pipeline->layout_ = std::move(layout);
  pipeline->parallel_ = parallel;
  if (adapters) TRIB_RETURN_IF_ERROR(pipeline->UseAdapters(std::move(adapters)));
  return pipeline;
}

absl::StatusOr<std::unique_ptr<Aggregator>> Pipeline::NewAggregator(bool given_coefficients) const {
  const bool squared_norms = std::ranges::any_of(
      optimizers_, [](const auto& named) { return named.second->uses_squared_norms(); });
  return AggregatorRegistry().Create(spec_.combine, {.layout = layout_,
                                                     .parallel = parallel_,
                                                     .given_coefficients = given_coefficients,
                                                     .squared_norms = squared_norms});
}

absl::StatusOr<Applied> Pipeline::Apply(std::unique_ptr<Aggregator> aggregator, Version version,
                                        const AddModel& add_model, bool beside_momentum,
                                        DeltaOrigin origin) {
  TRIB_ASSIGN_OR_RETURN(Aggregate aggregate, std::move(*aggregator).Finish());
  aggregator.reset();
  origin.squared_norm = SquaredNorm(aggregate.delta.trainable(), parallel_);
  origin.update_squared_norms = aggregate.squared_norms;
  if (!std::isfinite(origin.squared_norm)) {
    return WithContext(CheckFinite(*layout_, aggregate.delta.trainable()), "the combined delta");
  }
  const TransformContext context{.version = version, .mask = mask().get()};
  for (const auto& transform : transforms_) {
    TRIB_RETURN_IF_ERROR(transform->Apply(aggregate, context));
  }
  // The delta becomes the step, and the step the next model.
  ParamVector& model = aggregate.delta;
  TRIB_RETURN_IF_ERROR(Optimise(model.trainable(), origin, beside_momentum));
  TRIB_RETURN_IF_ERROR(add_model(model.trainable()));
  TRIB_RETURN_IF_ERROR(CheckFiniteModel(model, parallel_));
  return Applied{.model = std::move(model),
                 .updates = aggregate.updates,
                 .num_examples = aggregate.num_examples,
                 .delta_norm = std::sqrt(origin.squared_norm)};
}

Rates Pipeline::rates() const {
  Rates rates;
  for (const auto& [name, optimizer] : optimizers_) {
    rates.server *= optimizer->rate();
    rates.clients *= optimizer->client_rate();
  }
  return rates;
}

absl::Status Pipeline::Optimise(absl::Span<float> delta, const DeltaOrigin& origin,
                                bool beside_momentum) {
  for (const auto& [name, optimizer] : optimizers_) {
    TRIB_RETURN_IF_ERROR(beside_momentum ? optimizer->StepBesideMomentum(delta, origin)
                                         : optimizer->Step(delta, origin));
  }
  return absl::OkStatus();
}

UpdateTransform* Pipeline::Learner(CollectKind kind) const {
  for (const auto& transform : transforms_) {
    const CollectRequest* const request = transform->collects();
    if (request != nullptr && request->kind == kind) return transform.get();
  }
  return nullptr;
}

const CollectRequest* Pipeline::collects(CollectKind kind) const {
  const UpdateTransform* const learner = Learner(kind);
  return learner == nullptr ? nullptr : learner->collects();
}

std::shared_ptr<const Mask> Pipeline::mask() const {
  for (const auto& transform : transforms_) {
    if (auto mask = transform->mask()) return mask;
  }
  return nullptr;
}

absl::Status Pipeline::Learn(CollectKind kind, absl::Span<const double> sum, int64_t contributions,
                             absl::Span<float> model, Version version) {
  UpdateTransform* const learner = Learner(kind);
  if (learner == nullptr) {
    return absl::FailedPreconditionError(
        "no transform of this job learns from what was collected; allowed: a kind that one asks "
        "for");
  }
  const std::shared_ptr<const Mask> before = mask();
  TRIB_RETURN_IF_ERROR(
      learner->Learn(sum, contributions, model, {.version = version, .mask = before.get()}));
  TRIB_RETURN_IF_ERROR(WithContext(CheckFinite(*layout_, model), "the model after learning"));
  for (const auto& [name, optimizer] : optimizers_) {
    TRIB_RETURN_IF_ERROR(
        optimizer->BeginEpoch([&](absl::Span<float> vector) { return Project(vector, version); }));
  }
  return absl::OkStatus();
}

absl::Status Pipeline::Project(absl::Span<float> vector, Version version) {
  const auto kept = mask();
  if (kept != nullptr) ClearPruned(*kept, 0, vector);
  Aggregate aggregate{.delta = ParamVector(layout_)};
  std::ranges::copy(vector, aggregate.delta.trainable().begin());
  for (const auto& transform : transforms_) {
    if (transform->effect() != Effect::kProjects) continue;
    TRIB_RETURN_IF_ERROR(transform->Apply(aggregate, {.version = version, .mask = kept.get()}));
  }
  std::ranges::copy(aggregate.delta.trainable(), vector.begin());
  return absl::OkStatus();
}

absl::Status Pipeline::Restored() {
  for (const auto& transform : transforms_) TRIB_RETURN_IF_ERROR(transform->Restored());
  if (delivery_) delivery_->Restore(UnpackFactors(tail_));
  return absl::OkStatus();
}

StateRefs Pipeline::State() {
  StateRefs state;
  for (size_t i = 0; i < transforms_.size(); ++i) {
    AddNamed(absl::StrCat("transform.", i, "."), transforms_[i]->State(), state);
  }
  for (const auto& [name, optimizer] : optimizers_) AddNamed(name, optimizer->State(), state);
  if (delivery_) state.vectors["delivery.tail"] = &tail_;
  return state;
}

}  // namespace tributary
