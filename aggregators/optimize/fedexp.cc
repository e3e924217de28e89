#include "aggregators/optimize/fedexp.h"

#include <algorithm>

#include "common/status_macros.h"

namespace tributary {

void FedExpOptions::Describe(config::Fields<FedExpOptions>& fields) {
  fields
      .Add("epsilon", &FedExpOptions::epsilon,
           "added to the delta's squared norm; larger: closer to plain averaging")
      .GreaterThan(0);
}

absl::StatusOr<std::unique_ptr<FedExpOptimizer>> FedExpOptimizer::Create(
    const Options& options, const OptimizerDeps& deps) {
  return std::unique_ptr<FedExpOptimizer>(new FedExpOptimizer(options, deps));
}

absl::Status FedExpOptimizer::Step(absl::Span<float> delta, const DeltaOrigin& origin) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  rate_ =
      std::max(1.0, origin.update_squared_norms / (2 * (origin.squared_norm + options_.epsilon)));
  Scale(static_cast<float>(rate_), delta);
  return absl::OkStatus();
}

}  // namespace tributary
