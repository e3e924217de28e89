#include "aggregators/lora/adapter.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregators/lora/low_rank_products.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::Status Refused(absl::string_view module, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("adapter module '", module, "': ", what));
}

// `expected`: 0 if the factor may not be sent.
absl::Status CheckFactor(absl::string_view module, absl::string_view factor,
                         const std::vector<float>& values, int64_t expected) {
  if (static_cast<int64_t>(values.size()) != expected) {
    return Refused(module,
                   absl::StrCat(factor, " has ", values.size(), " values instead of ", expected));
  }
  const auto bad = std::find_if(values.begin(), values.end(),
                                [](float v) { return !(std::fabs(v) <= kMaxFactorValue); });
  if (bad == values.end()) return absl::OkStatus();
  return Refused(module, absl::StrCat(factor, "[", bad - values.begin(), "] is ", *bad,
                                      "; allowed are numbers up to ", kMaxFactorValue));
}

// Completes `accepted` with the factor that was not sent.
absl::Status TakeFrozen(absl::string_view module, const LowRankModel& start, AdapterFactors factors,
                        LowRank& accepted) {
  const auto frozen = start.find(std::string(module));
  if (frozen == start.end()) {
    if (factors == AdapterFactors::kA) return absl::OkStatus();
    return Refused(module, "the adapter that clients start from has no A for it");
  }
  if (frozen->second.rank < accepted.rank) {
    return Refused(module, absl::StrCat("rank is ", accepted.rank, "; the adapter that clients ",
                                        "start from has ", frozen->second.rank));
  }
  LowRank part = Slice(frozen->second, 0, accepted.rank);
  if (factors == AdapterFactors::kA) {
    accepted.b = std::move(part.b);
  } else {
    accepted.a = std::move(part.a);
  }
  return absl::OkStatus();
}

double NormOf(const LowRank& x) {
  if (!x.b.empty()) return Norm(x);
  double squared = 0;
  for (const float v : x.a) squared += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(squared);
}

absl::StatusOr<AcceptedModule> AcceptModule(const AdapterModule& module, const MatrixShape& shape,
                                            const AdapterSpec& spec, AdapterFactors factors,
                                            const LowRankModel& start) {
  if (module.rank < spec.min_rank || module.rank > spec.max_rank) {
    return Refused(module.name, absl::StrCat("rank is ", module.rank, "; allowed are ",
                                             spec.min_rank, " to ", spec.max_rank));
  }
  if (!(module.scale >= 1 / kMaxScale && module.scale <= kMaxScale)) {
    return Refused(module.name, absl::StrCat("scale is ", module.scale, "; allowed are ",
                                             1 / kMaxScale, " to ", kMaxScale));
  }
  const bool has_a = factors != AdapterFactors::kB, has_b = factors != AdapterFactors::kA;
  TRIB_RETURN_IF_ERROR(
      CheckFactor(module.name, "A", module.a, has_a ? module.rank * shape.columns : 0));
  TRIB_RETURN_IF_ERROR(
      CheckFactor(module.name, "B", module.b, has_b ? shape.rows * module.rank : 0));
  AcceptedModule accepted{.factors = {.rows = shape.rows,
                                      .columns = shape.columns,
                                      .rank = module.rank,
                                      .b = module.b,
                                      .a = module.a},
                          .scale = has_b ? module.scale : 1};
  if (factors != AdapterFactors::kBoth) {
    TRIB_RETURN_IF_ERROR(TakeFrozen(module.name, start, factors, accepted.factors));
  }
  accepted.norm = accepted.scale * NormOf(accepted.factors);
  if (!(accepted.norm <= spec.max_product_norm)) {
    return absl::ResourceExhaustedError(absl::StrCat("adapter module '", module.name,
                                                     "': the product's norm is ", accepted.norm,
                                                     "; allowed is up to ", spec.max_product_norm));
  }
  return accepted;
}

}  // namespace

AdapterSpec AdapterSpecOf(const LoraPlan& plan) {
  AdapterSpec spec{.modules = {},
                   .min_rank = plan.spec().min_rank(),
                   .max_rank = plan.spec().max_rank(),
                   .max_product_norm = plan.spec().max_product_norm};
  for (const LoraModule& module : plan.modules()) {
    spec.modules[module.name] = {module.rows, module.columns};
  }
  return spec;
}

absl::Status AdapterSpec::Validate() const {
  if (modules.empty()) return absl::InvalidArgumentError("adapters: there is no module");
  for (const auto& [name, shape] : modules) {
    if (name.empty() || shape.rows < 1 || shape.columns < 1) {
      return Refused(name, absl::StrCat("shape is [", shape.rows, ", ", shape.columns,
                                        "]; a name and dimensions from 1 are allowed"));
    }
  }
  if (min_rank < 1 || max_rank < min_rank) {
    return absl::InvalidArgumentError(absl::StrCat("adapters: ranks are ", min_rank, " to ",
                                                   max_rank, "; allowed are ranges from 1"));
  }
  if (!(max_product_norm > 0 && max_product_norm <= kMaxProductNorm)) {
    return absl::InvalidArgumentError(
        absl::StrCat("adapters: max_product_norm is ", max_product_norm,
                     "; allowed are numbers above 0 and up to ", kMaxProductNorm));
  }
  return absl::OkStatus();
}

absl::StatusOr<AcceptedUpdate> Accept(const AdapterUpdate& update, const AdapterSpec& spec,
                                      AdapterFactors factors, const LowRankModel& start) {
  AcceptedUpdate accepted;
  for (const AdapterModule& module : update.modules) {
    const auto shape = spec.modules.find(module.name);
    if (shape == spec.modules.end()) return Refused(module.name, "is not one of the job's");
    if (accepted.contains(module.name)) return Refused(module.name, "is there twice");
    TRIB_ASSIGN_OR_RETURN(accepted[module.name],
                          AcceptModule(module, shape->second, spec, factors, start));
  }
  for (const auto& [name, shape] : spec.modules) {
    if (!accepted.contains(name)) return Refused(name, "is missing");
  }
  return accepted;
}

double ClipProducts(double bound, const AdapterSpec& spec, AdapterUpdate& update) {
  TRIB_CHECK(bound > 0);
  double squared = 0;
  for (const AdapterModule& module : update.modules) {
    const MatrixShape& shape = spec.modules.at(module.name);
    const double norm = module.scale * Norm({.rows = shape.rows,
                                             .columns = shape.columns,
                                             .rank = module.rank,
                                             .b = module.b,
                                             .a = module.a});
    squared += norm * norm;
  }
  const double factor = squared > bound * bound ? bound / std::sqrt(squared) : 1.0;
  for (AdapterModule& module : update.modules) module.scale *= factor;
  return factor;
}

}  // namespace tributary
