#include "aggregators/adapter_pipeline.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregators/lora/low_rank_products.h"
#include "aggregators/lora/low_rank_state.h"
#include "aggregators/lora/stacking.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::Status Refused(const LoraRule& rule, absl::string_view step, absl::string_view reason) {
  return absl::InvalidArgumentError(
      absl::StrCat("combine ", rule.name, " with ", step, ": ", reason));
}

absl::Status CheckTransform(const LoraRule& rule, const config::Choice& choice) {
  TRIB_ASSIGN_OR_RETURN(const auto transform, TransformRegistry().Create(choice, {}));
  if (rule.keeps_adapter && rule.moves_weights) {
    return Refused(rule, choice.name,
                   "its adapter and what is merged belong together; no transform is allowed");
  }
  if (transform->effect() == Effect::kMasks) {
    return Refused(rule, choice.name,
                   "the frozen weights are not trained, so there is nothing to prune; leave "
                   "pruning out");
  }
  if (rule.moves_weights && !transform->takes_low_rank()) {
    return Refused(rule, choice.name, "it would make the sum of the adapters dense");
  }
  if (rule.keeps_adapter && transform->effect() == Effect::kProjects) {
    return Refused(rule, choice.name,
                   "an adapter that is kept would lose what it has learnt of earlier tasks; "
                   "lora_stacking, which merges it, is allowed");
  }
  return absl::OkStatus();
}

absl::Status CheckOptimizer(const LoraRule& rule, const config::Choice& choice) {
  TRIB_ASSIGN_OR_RETURN(const auto optimizer, OptimizerRegistry().Create(choice, {}));
  const std::string step = absl::StrCat("optimizer ", choice.name);
  if (optimizer->uses_squared_norms()) {
    return Refused(rule, step, "it needs the norms of whole updates; allowed: sgd");
  }
  if (rule.keeps_adapter && rule.moves_weights &&
      (choice.name != "sgd" || optimizer->rate() != 1.0)) {
    return Refused(rule, step,
                   "its adapter and what is merged belong together; allowed: sgd with "
                   "learning_rate 1");
  }
  if (rule.moves_weights && !optimizer->takes_low_rank()) {
    return Refused(rule, step,
                   "it would make the sum of the adapters dense; allowed: sgd, and a "
                   "hypergradient of variant global or server_local");
  }
  return absl::OkStatus();
}

// Those of a rule's options that are `Part`'s.
template <typename Part>
absl::StatusOr<Part> PartOf(const config::Choice& rule) {
  nlohmann::json part = nlohmann::json::object();
  for (const auto& field : config::SchemaOf<Part>().fields()) {
    part[field.name] = rule.options.at(field.name);
  }
  return config::Parse<Part>(config::NodeFromJson(part), rule.name);
}

}  // namespace

absl::Status CheckAdapterPipeline(const AggregationSpec& spec) {
  TRIB_RETURN_IF_ERROR(WithContext(LoraAggregatorRegistry().Create(spec.combine, {}).status(),
                                   absl::StrCat("combine ", spec.combine.name)));
  TRIB_ASSIGN_OR_RETURN(const LoraRule rule, FindLoraRule(spec.combine.name));
  for (const config::Choice& choice : spec.transforms) {
    TRIB_RETURN_IF_ERROR(CheckTransform(rule, choice));
  }
  TRIB_RETURN_IF_ERROR(CheckOptimizer(rule, spec.optimizer));
  return spec.hypergradient ? CheckOptimizer(rule, *spec.hypergradient) : absl::OkStatus();
}

// ---- the pipeline's half ---------------------------------------------------------------

absl::Status Pipeline::UseAdapters(std::shared_ptr<const LoraPlan> adapters) {
  plan_ = std::move(adapters);
  TRIB_ASSIGN_OR_RETURN(weights_, PartOf<UpdateWeightOptions>(spec_.combine));
  if (!plan_->rule().moves_weights) return absl::OkStatus();
  TRIB_ASSIGN_OR_RETURN(const auto options, PartOf<LoraDeliveryOptions>(spec_.combine));
  TRIB_ASSIGN_OR_RETURN(delivery_, LoraDelivery::Create(options));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<LoraAggregator>> Pipeline::NewAdapterAggregator(
    const LowRankModel& kept, Version version, bool given_coefficients) const {
  return LoraAggregatorRegistry().Create(spec_.combine, {.spec = AdapterSpecOf(*plan_),
                                                         .start = kept,
                                                         .version = version,
                                                         .given_coefficients = given_coefficients});
}

absl::StatusOr<UpdateWeights> Pipeline::AdapterWeights(bool given_coefficients) const {
  return UpdateWeights::Create(weights_, given_coefficients);
}

absl::StatusOr<Delivered> Pipeline::StepLowRank(LowRankModel& sum, Version version,
                                                bool beside_momentum, const DeltaOrigin& origin) {
  for (const auto& transform : transforms_) {
    TRIB_RETURN_IF_ERROR(transform->ApplyLowRank(sum, {.version = version}));
  }
  for (const auto& [name, optimizer] : optimizers_) {
    TRIB_RETURN_IF_ERROR(optimizer->StepLowRank(sum, origin, beside_momentum));
  }
  TRIB_ASSIGN_OR_RETURN(Delivered delivered, delivery_->Deliver(sum));
  TRIB_ASSIGN_OR_RETURN(tail_, PackFactors(delivery_->tail()));
  return delivered;
}

absl::StatusOr<AdaptersApplied> Pipeline::ApplyAdapters(std::unique_ptr<LoraAggregator> aggregator,
                                                        const LowRankModel& kept, Version version,
                                                        Rng fresh, bool beside_momentum,
                                                        DeltaOrigin origin) {
  TRIB_ASSIGN_OR_RETURN(LoraAggregate aggregate, std::move(*aggregator).Finish());
  const LoraRule& rule = plan_->rule();
  AdaptersApplied applied{.updates = aggregate.updates};
  if (rule.moves_weights) {
    applied.delta_norm = Norm(aggregate.delta);
    if (!std::isfinite(applied.delta_norm)) {
      return absl::OutOfRangeError("the sum of the adapters is not finite");
    }
    origin.squared_norm = applied.delta_norm * applied.delta_norm;
    TRIB_ASSIGN_OR_RETURN(applied.delivered,
                          StepLowRank(aggregate.delta, version, beside_momentum, origin));
    applied.weights = std::exchange(applied.delivered.modules, {});
  }
  if (!rule.keeps_adapter) return applied;
  ParamVector before(layout_), next(layout_);
  plan_->PutFactors(kept, fresh, before);
  plan_->PutFactors(aggregate.start, std::move(fresh), next);
  if (rule.moves_weights) {
    applied.adapter = std::move(next);
    return applied;
  }
  Aggregate mean{.delta = std::move(next), .updates = aggregate.updates};
  AddScaled(-1.0F, before.trainable(), mean.delta.trainable());
  origin.squared_norm = SquaredNorm(mean.delta.trainable(), parallel_);
  applied.delta_norm = std::sqrt(origin.squared_norm);
  for (const auto& transform : transforms_) {
    TRIB_RETURN_IF_ERROR(transform->Apply(mean, {.version = version}));
  }
  TRIB_RETURN_IF_ERROR(Optimise(mean.delta.trainable(), origin, beside_momentum));
  AddScaled(1.0F, before.trainable(), mean.delta.trainable());
  applied.adapter = std::move(mean.delta);
  return applied;
}

}  // namespace tributary
