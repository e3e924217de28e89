#include "aggregators/optimize/adaptive.h"

#include <cmath>

#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr absl::string_view kRateDoc = "factor on the scaled delta; the one to tune";
constexpr absl::string_view kBeta1Doc = "share of the first moment that a step keeps";
constexpr absl::string_view kBeta2Doc = "share of the second moment that a step keeps";
constexpr absl::string_view kTauDoc = "added to the second moment's root; larger: less adaptive";

}  // namespace

void AdamOptions::Describe(config::Fields<AdamOptions>& fields) {
  fields.Add("learning_rate", &AdamOptions::learning_rate, kRateDoc).GreaterThan(0);
  fields.Add("beta1", &AdamOptions::beta1, kBeta1Doc).Min(0).LessThan(1);
  fields.Add("beta2", &AdamOptions::beta2, kBeta2Doc).Min(0).LessThan(1);
  fields.Add("tau", &AdamOptions::tau, kTauDoc).GreaterThan(0);
}

void AdagradOptions::Describe(config::Fields<AdagradOptions>& fields) {
  fields.Add("learning_rate", &AdagradOptions::learning_rate, kRateDoc).GreaterThan(0);
  fields.Add("beta1", &AdagradOptions::beta1, kBeta1Doc).Min(0).LessThan(1);
  fields.Add("tau", &AdagradOptions::tau, kTauDoc).GreaterThan(0);
}

void YogiOptions::Describe(config::Fields<YogiOptions>& fields) {
  fields.Add("learning_rate", &YogiOptions::learning_rate, kRateDoc).GreaterThan(0);
  fields.Add("beta1", &YogiOptions::beta1, kBeta1Doc).Min(0).LessThan(1);
  fields.Add("beta2", &YogiOptions::beta2, kBeta2Doc).Min(0).LessThan(1);
  fields.Add("tau", &YogiOptions::tau, kTauDoc).GreaterThan(0);
}

template <typename Rule>
absl::StatusOr<std::unique_ptr<AdaptiveOptimizer<Rule>>> AdaptiveOptimizer<Rule>::Create(
    const Options& options, const OptimizerDeps& deps) {
  return std::unique_ptr<AdaptiveOptimizer>(new AdaptiveOptimizer(options, deps));
}

template <typename Rule>
absl::Status AdaptiveOptimizer<Rule>::Step(absl::Span<float> delta, const DeltaOrigin&) {
  const auto tau = static_cast<float>(options_.tau);
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  TRIB_RETURN_IF_ERROR(EnsureState(deps_.layout, 0.0F, "first_moment", first_));
  TRIB_RETURN_IF_ERROR(EnsureState(deps_.layout, tau * tau, "second_moment", second_));
  const Rule next_second(options_);
  const auto keep = static_cast<float>(options_.beta1);
  const auto take = static_cast<float>(1 - options_.beta1);
  const auto rate = static_cast<float>(options_.learning_rate);
  const absl::Span<float> m = first_.trainable();
  const absl::Span<float> v = second_.trainable();
  ForRanges(deps_.parallel, deps_.layout->trainable_size(), [&](CoordinateRange range) {
    for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
      m[i] = keep * m[i] + take * delta[i];
      v[i] = next_second(v[i], delta[i] * delta[i]);
      delta[i] = rate * m[i] / (std::sqrt(v[i]) + tau);
    }
  });
  return absl::OkStatus();
}

template <typename Rule>
absl::Status AdaptiveOptimizer<Rule>::BeginEpoch(const Project&) {
  first_ = ParamVector();
  second_ = ParamVector();
  return absl::OkStatus();
}

template class AdaptiveOptimizer<AdamRule>;
template class AdaptiveOptimizer<AdagradRule>;
template class AdaptiveOptimizer<YogiRule>;

}  // namespace tributary
