#include "aggregators/optimize/sgd.h"

#include "aggregators/lora/low_rank_products.h"
#include "common/status_macros.h"

namespace tributary {

void SgdOptions::Describe(config::Fields<SgdOptions>& fields) {
  fields.Add("learning_rate", &SgdOptions::learning_rate, "factor on the delta").GreaterThan(0);
}

absl::StatusOr<std::unique_ptr<SgdOptimizer>> SgdOptimizer::Create(const Options& options,
                                                                   const OptimizerDeps& deps) {
  return std::unique_ptr<SgdOptimizer>(new SgdOptimizer(options, deps));
}

absl::Status SgdOptimizer::Step(absl::Span<float> delta, const DeltaOrigin&) {
  TRIB_RETURN_IF_ERROR(CheckSize(*deps_.layout, delta));
  const auto rate = static_cast<float>(options_.learning_rate);
  ForRanges(deps_.parallel, deps_.layout->trainable_size(), [&](CoordinateRange range) {
    for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
      delta[i] *= rate;
    }
  });
  return absl::OkStatus();
}

absl::Status SgdOptimizer::StepLowRank(LowRankModel& delta, const DeltaOrigin&, bool) {
  if (options_.learning_rate != 1.0) ScaleProducts(options_.learning_rate, delta);
  return absl::OkStatus();
}

}  // namespace tributary
