#include "aggregators/lora/lora_aggregator.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {

LoraAggregator::LoraAggregator(LoraDeps deps, AdapterFactors factors)
    : deps_(std::move(deps)), factors_(factors) {}

absl::Status LoraAggregator::Accumulate(const AdapterUpdate& update) {
  if (orders_.contains(update.order)) {
    return absl::AlreadyExistsError(
        absl::StrCat("the adapters of work order ", update.order, " were accumulated before"));
  }
  if (!std::isfinite(update.weight) || update.weight <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("the adapters' weight is ", update.weight,
                                                   "; allowed are finite numbers above 0"));
  }
  TRIB_ASSIGN_OR_RETURN(AcceptedUpdate accepted, Accept(update, deps_.spec, factors_, deps_.start));
  Add(update.weight, std::move(accepted));
  orders_.insert(update.order);
  weight_ += update.weight;
  return absl::OkStatus();
}

absl::StatusOr<LoraAggregate> LoraAggregator::Counts() const {
  if (orders_.empty()) {
    return absl::FailedPreconditionError("no adapter was accumulated, so there is no sum");
  }
  LoraAggregate aggregate;
  aggregate.updates = static_cast<int64_t>(orders_.size());
  aggregate.weight = weight_;
  return aggregate;
}

absl::Status CheckDeps(const LoraDeps& deps) {
  if (deps.spec.modules.empty()) return absl::OkStatus();
  TRIB_RETURN_IF_ERROR(deps.spec.Validate());
  for (const auto& [name, factors] : deps.start) {
    const auto shape = deps.spec.modules.find(name);
    if (shape == deps.spec.modules.end() || shape->second.rows != factors.rows ||
        shape->second.columns != factors.columns ||
        static_cast<int64_t>(factors.b.size()) != factors.rows * factors.rank ||
        static_cast<int64_t>(factors.a.size()) != factors.rank * factors.columns) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the adapter that clients start from: module '", name, "' is not of the job's shape"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAverages(absl::string_view rule, const LoraDeps& deps) {
  if (!deps.given_coefficients) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(rule,
                   " averages adapters, whose weights sum to 1: a scheduler that sets "
                   "coefficients is not allowed; lora_stacking takes them"));
}

absl::Status CheckOneRank(absl::string_view rule, const LoraDeps& deps) {
  if (deps.spec.modules.empty() || deps.spec.min_rank == deps.spec.max_rank) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(rule, " needs one rank for all; found are ",
                                                 deps.spec.min_rank, " to ", deps.spec.max_rank));
}

absl::Status CheckStartIsWhole(absl::string_view rule, const LoraDeps& deps) {
  for (const auto& [name, shape] : deps.spec.modules) {
    if (!deps.start.contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          rule, " needs the adapter that clients start from; it has no module '", name, "'"));
    }
  }
  return absl::OkStatus();
}

}  // namespace tributary
