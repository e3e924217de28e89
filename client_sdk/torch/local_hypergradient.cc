#include "client_sdk/torch/local_hypergradient.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/params/param_vector.h"

namespace tributary {
namespace {

constexpr double kMostGrowth = 1.1;       // of the factor in a step
constexpr double kSmallestNorms = 1e-30;  // the product of two norms that are taken for 0

}  // namespace

LocalHypergradient::LocalHypergradient(const LocalHypergradientOptions& options,
                                       double learning_rate, int64_t steps,
                                       std::vector<float> global_update)
    : rule_(options.rule == "displacement" ? Rule::kDisplacement
            : options.rule == "cosine"     ? Rule::kCosine
                                           : Rule::kGradient),
      bound_(options.bound),
      gain_(options.gain.value_or(rule_ == Rule::kCosine ? 0.02 : 1.0)),
      global_weight_(options.global_weight.value_or(
          rule_ == Rule::kCosine ? 1.0 : 1.0 / static_cast<double>(steps))),
      learning_rate_(learning_rate),
      global_update_(std::move(global_update)) {
  if (rule_ != Rule::kGradient) previous_ = global_update_;
}

double LocalHypergradient::Product(absl::Span<const float> displacement,
                                   absl::Span<const float> other) const {
  if (other.empty()) return 0;
  const double product = Dot(displacement, other);
  if (rule_ != Rule::kCosine) return product;
  const double norms = std::sqrt(SquaredNorm(displacement)) * std::sqrt(SquaredNorm(other));
  return norms < kSmallestNorms ? 0 : product / norms;
}

double LocalHypergradient::Follow(absl::Span<const float> displacement, bool first_of_pass) {
  if (rule_ != Rule::kGradient && first_of_pass) return factor_;
  const double local = Product(displacement, previous_);
  const double global = global_weight_ * Product(displacement, global_update_);
  const double last = std::exchange(previous_factor_, factor_);
  if (rule_ == Rule::kGradient) {
    const double rate = learning_rate_ * factor_;
    const double h = local / (rate * learning_rate_ * last) + global / rate;
    factor_ += gain_ * h / learning_rate_;
  } else {
    factor_ *= std::min(kMostGrowth, 1 + gain_ * (local + global));
  }
  factor_ = std::clamp(factor_, 1 / bound_, bound_);
  previous_.assign(displacement.begin(), displacement.end());
  return factor_;
}

}  // namespace tributary
