// ClipTransform: bounds the global L2 norm of the combined delta,
//
//   delta ← delta · min(1, norm / ‖delta‖₂)
//
// over the trainable coordinates only. The norm is summed in double, in an order that does not
// depend on threads.
#ifndef TRIBUTARY_AGGREGATORS_TRANSFORM_CLIP_H_
#define TRIBUTARY_AGGREGATORS_TRANSFORM_CLIP_H_

#include <memory>

#include "absl/status/statusor.h"
#include "aggregators/transform/update_transform.h"
#include "common/config/schema.h"

namespace tributary {

struct ClipOptions {
  double norm = 10.0;

  static void Describe(config::Fields<ClipOptions>& fields);
};

class ClipTransform final : public UpdateTransform {
 public:
  using Options = ClipOptions;

  static absl::StatusOr<std::unique_ptr<ClipTransform>> Create(const Options& options,
                                                               const TransformDeps& deps);

  // OutOfRange if the delta is not finite; it is then unchanged.
  absl::Status Apply(Aggregate& aggregate, const TransformContext& context) override;
  // Over all modules together.
  absl::Status ApplyLowRank(LowRankModel& delta, const TransformContext& context) override;
  bool takes_low_rank() const override { return true; }
  Effect effect() const override { return Effect::kScales; }

 private:
  ClipTransform(double norm, Parallel* parallel) : norm_(norm), parallel_(parallel) {}

  const double norm_;
  Parallel* const parallel_;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_TRANSFORM_CLIP_H_
