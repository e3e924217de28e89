#include "aggregators/transform/clip.h"

#include <cmath>

#include "aggregators/lora/low_rank_products.h"

namespace tributary {

void ClipOptions::Describe(config::Fields<ClipOptions>& fields) {
  fields.Add("norm", &ClipOptions::norm, "largest L2 norm of the combined delta").GreaterThan(0);
}

absl::StatusOr<std::unique_ptr<ClipTransform>> ClipTransform::Create(const Options& options,
                                                                     const TransformDeps& deps) {
  return std::unique_ptr<ClipTransform>(new ClipTransform(options.norm, deps.parallel));
}

absl::Status ClipTransform::Apply(Aggregate& aggregate, const TransformContext&) {
  const absl::Span<float> delta = aggregate.delta.trainable();
  const double norm = std::sqrt(SquaredNorm(delta, parallel_));
  if (!std::isfinite(norm)) return CheckFinite(*aggregate.delta.layout(), delta);
  if (norm <= norm_) return absl::OkStatus();
  const auto factor = static_cast<float>(norm_ / norm);
  ForRanges(parallel_, static_cast<int64_t>(delta.size()), [&](CoordinateRange range) {
    Scale(factor,
          delta.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())));
  });
  return absl::OkStatus();
}

absl::Status ClipTransform::ApplyLowRank(LowRankModel& delta, const TransformContext&) {
  const double norm = Norm(delta);
  if (norm <= norm_) return absl::OkStatus();
  if (!std::isfinite(norm)) return absl::OutOfRangeError("the sum of the adapters is not finite");
  ScaleProducts(norm_ / norm, delta);
  return absl::OkStatus();
}

}  // namespace tributary
