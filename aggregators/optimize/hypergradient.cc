#include "aggregators/optimize/hypergradient.h"

#include <algorithm>
#include <cmath>

#include "aggregators/lora/low_rank_products.h"
#include "aggregators/lora/low_rank_state.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr double kMomentum = 0.9;
constexpr double kMinMomentumRate = 0.8;
constexpr double kSmallestNorms = 1e-30;  // the product of two norms that are taken for 0
constexpr double kMostRepeated = 0.5;
constexpr double kLongest = 100;  // of the delta before

}  // namespace

void HypergradientOptions::Describe(config::Fields<HypergradientOptions>& fields) {
  fields
      .Add("variant", &HypergradientOptions::variant,
           "what follows the product: the server's rate, the same with a momentum, the learning "
           "rate of all clients, or each client's by products of its own")
      .OneOf({"global", "global_momentum", "server_local", "client_local"});
  fields
      .Add("form", &HypergradientOptions::form,
           "of the product: as it is (the paper's), or free of scale")
      .OneOf({"raw", "cosine"});
  fields
      .Add("bound", &HypergradientOptions::bound,
           "the rate stays between 1/bound and bound; absent: 3, with the last two 10")
      .Min(1);
  fields
      .Add("gain", &HypergradientOptions::gain,
           "factor on the product; absent: 0.2, with raw 1, with client_local 0.02 or 1")
      .GreaterThan(0);
}

absl::StatusOr<std::unique_ptr<HypergradientOptimizer>> HypergradientOptimizer::Create(
    const Options& options, const OptimizerDeps& deps) {
  if (options.variant == "client_local") {
    return absl::InvalidArgumentError(
        "variant client_local is nothing that the server does; it stands in the job's "
        "hypergradient section, or as train.hypergradient");
  }
  return std::unique_ptr<HypergradientOptimizer>(new HypergradientOptimizer(options, deps));
}

HypergradientOptimizer::HypergradientOptimizer(const Options& options, const OptimizerDeps& deps)
    : variant_(options.variant == "global"            ? Variant::kGlobal
               : options.variant == "global_momentum" ? Variant::kGlobalMomentum
                                                      : Variant::kServerLocal),
      cosine_(options.form == "cosine"),
      gain_(options.gain.value_or(cosine_ ? 0.2 : 1.0)),
      max_rate_(options.bound.value_or(variant_ == Variant::kServerLocal ? 10.0 : 3.0)),
      min_rate_(variant_ == Variant::kGlobalMomentum ? std::max(1 / max_rate_, kMinMomentumRate)
                                                     : 1 / max_rate_),
      doubts_(variant_ == Variant::kServerLocal && cosine_),
      deps_(deps) {}

double HypergradientOptimizer::Believed(double own, double previous) const {
  if (!doubts_) return 1;
  const double before = std::sqrt(previous), now = std::sqrt(own);
  return before > 0 && now > kLongest * before ? before / now : 1;
}

double HypergradientOptimizer::NextRate(const Products& products, const DeltaOrigin& origin) const {
  double product = products.mixed;
  if (cosine_) {
    const double norms = std::sqrt(products.own) * std::sqrt(products.previous);
    product = norms < kSmallestNorms ? 0 : product / norms;
  }
  if (origin.repeated > kMostRepeated) product = 0;
  const double h = gain_ * product / std::sqrt(1 + origin.mean_staleness);
  double next = cosine_ ? rate_ * (1 + h) : rate_ + h;
  if (Believed(products.own, products.previous) < 1) next = rate_ / 2;
  next = std::clamp(next, min_rate_, max_rate_);
  return variant_ == Variant::kServerLocal ? std::min(next, origin.client_rate_limit) : next;
}

absl::Status HypergradientOptimizer::Step(absl::Span<float> delta, const DeltaOrigin& origin) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  TRIB_RETURN_IF_ERROR(EnsureState(deps_.layout, 0.0F, "previous delta", previous_));
  const absl::Span<float> previous = previous_.trainable();
  const Products products = {.own = cosine_ ? SquaredNorm(delta, deps_.parallel) : 0,
                             .mixed = Dot(delta, previous, deps_.parallel),
                             .previous = cosine_ ? SquaredNorm(previous, deps_.parallel) : 0};
  rate_ = NextRate(products, origin);
  const double believed = Believed(products.own, products.previous);
  const bool momentum = variant_ == Variant::kGlobalMomentum;
  const auto keep = static_cast<float>(momentum ? kMomentum : 0);
  const auto take = static_cast<float>(momentum ? kMomentum * (rate_ - 1) : 0);
  const auto factor = static_cast<float>(rate() * believed);
  const auto remembered = static_cast<float>(believed < 1 ? kLongest * believed : 1);
  ForRanges(deps_.parallel, deps_.layout->trainable_size(), [&](CoordinateRange range) {
    for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
      const float step = factor * delta[i] + take * previous[i];
      previous[i] = remembered * delta[i] + keep * previous[i];
      delta[i] = step;
    }
  });
  return absl::OkStatus();
}

absl::Status HypergradientOptimizer::StepBesideMomentum(absl::Span<float> delta,
                                                        const DeltaOrigin&) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  const double believed = doubts_ && !previous_.empty()
                              ? Believed(SquaredNorm(delta, deps_.parallel),
                                         SquaredNorm(previous_.trainable(), deps_.parallel))
                              : 1;
  Scale(static_cast<float>(rate() * believed), delta);
  return absl::OkStatus();
}

absl::Status HypergradientOptimizer::StepLowRank(LowRankModel& delta, const DeltaOrigin& origin,
                                                 bool beside_momentum) {
  const LowRankModel previous = UnpackFactors(previous_);
  const Products products = {.own = InnerProduct(delta, delta),
                             .mixed = InnerProduct(delta, previous),
                             .previous = InnerProduct(previous, previous)};
  const double believed = Believed(products.own, products.previous);
  if (!beside_momentum) {
    rate_ = NextRate(products, origin);
    LowRankModel remembered = delta;
    if (believed < 1) ScaleProducts(kLongest * believed, remembered);
    TRIB_ASSIGN_OR_RETURN(previous_, PackFactors(remembered));
  }
  ScaleProducts(rate() * believed, delta);
  return absl::OkStatus();
}

absl::Status HypergradientOptimizer::BeginEpoch(const Project&) {
  previous_ = ParamVector();
  rate_ = 1.0;
  return absl::OkStatus();
}

}  // namespace tributary
