// UpdateTransform: delta -> delta, between combining and the server optimizer.
#ifndef TRIBUTARY_AGGREGATORS_TRANSFORM_UPDATE_TRANSFORM_H_
#define TRIBUTARY_AGGREGATORS_TRANSFORM_UPDATE_TRANSFORM_H_

#include "absl/status/status.h"
#include "aggregators/combine/aggregator.h"
#include "aggregators/effect.h"
#include "aggregators/state.h"
#include "common/registry.h"

namespace tributary {

struct TransformContext {
  Version version = 0;  // of the model that the delta will be added to
};

// Thread-compatible.
class UpdateTransform {
 public:
  virtual ~UpdateTransform() = default;

  // Changes the trainable part of `aggregate.delta` in place; never its buffers.
  virtual absl::Status Apply(Aggregate& aggregate, const TransformContext& context) = 0;

  virtual Effect effect() const = 0;

  virtual StateRefs State() { return {}; }
};

struct TransformDeps {
  LayoutPtr layout;  // null: only to check options and ask for effect()
  Parallel* parallel = nullptr;
};

const Registry<UpdateTransform, const TransformDeps&>& TransformRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_TRANSFORM_UPDATE_TRANSFORM_H_
