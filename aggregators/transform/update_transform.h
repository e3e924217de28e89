// UpdateTransform: delta -> delta, between combining and the server optimizer.
#ifndef TRIBUTARY_AGGREGATORS_TRANSFORM_UPDATE_TRANSFORM_H_
#define TRIBUTARY_AGGREGATORS_TRANSFORM_UPDATE_TRANSFORM_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "aggregators/combine/aggregator.h"
#include "aggregators/effect.h"
#include "aggregators/state.h"
#include "common/lora/lora_plan.h"
#include "common/params/collection.h"
#include "common/params/mask.h"
#include "common/registry.h"

namespace tributary {

struct TransformContext {
  Version version = 0;         // of the model that the delta will be added to
  const Mask* mask = nullptr;  // the job's, null if it has none
};

// Thread-compatible.
class UpdateTransform {
 public:
  virtual ~UpdateTransform() = default;

  // Changes the trainable part of `aggregate.delta` in place; never its buffers.
  virtual absl::Status Apply(Aggregate& aggregate, const TransformContext& context) = 0;

  // The same for what adapters add to frozen weights, by module, whose rank does not grow. Only
  // where takes_low_rank().
  virtual absl::Status ApplyLowRank(LowRankModel& /*delta*/, const TransformContext& /*context*/) {
    return absl::UnimplementedError("this transform changes dense deltas only");
  }
  virtual bool takes_low_rank() const { return false; }

  virtual Effect effect() const = 0;

  // What it has to learn from clients before it acts; null if nothing. The job's phase of that
  // kind collects it, once or at every task's end. The same for the same options and layout; its
  // layout is null where the transform's is.
  virtual const CollectRequest* collects() const { return nullptr; }

  // Takes what clients answered: `sum` over their contributions, coordinate by coordinate of the
  // request's layout, in work-order order, and their number, at least 1. May change the trainable
  // values of the model (a mask clears what it prunes). An error leaves everything as it was.
  virtual absl::Status Learn(absl::Span<const double> /*sum*/, int64_t /*contributions*/,
                             absl::Span<float> /*model*/, const TransformContext& /*context*/) {
    return absl::UnimplementedError("this transform learns nothing");
  }

  // The coordinates that the job keeps; null if this transform drops none, or none yet. The
  // pointee does not change: a new mask is a new object.
  virtual std::shared_ptr<const Mask> mask() const { return nullptr; }

  // After the state was restored in place: rebuilds what follows from it. DataLoss.
  virtual absl::Status Restored() { return absl::OkStatus(); }

  virtual StateRefs State() { return {}; }
};

struct TransformDeps {
  LayoutPtr layout;  // null: only to check options and ask for effect()
  Parallel* parallel = nullptr;
  // With adapters: which modules move. What the transform is given is then their deltas alone.
  std::shared_ptr<const LoraPlan> adapters = nullptr;
};

const Registry<UpdateTransform, const TransformDeps&>& TransformRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_TRANSFORM_UPDATE_TRANSFORM_H_
