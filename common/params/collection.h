// Collection: what clients are asked to send once, beside updates, so that a method can learn of
// their data without seeing it: an exploration of the loss landscape, sketches of layers' inputs.
// Contributions are flat vectors that the coordinator sums.
#ifndef TRIBUTARY_COMMON_PARAMS_COLLECTION_H_
#define TRIBUTARY_COMMON_PARAMS_COLLECTION_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/params/param_layout.h"
#include "common/params/param_vector.h"

namespace tributary {

enum class CollectKind {
  kExplore,  // before training: how far each parameter moves when a client trains (AutoFLIP)
  kSketch,   // at a task's end: what the layers' inputs span (FOT)
};

struct CollectRequest {
  CollectKind kind = CollectKind::kExplore;
  std::string options_json;  // for the trainer: canonical JSON, of the method
  LayoutPtr layout;          // of a contribution; trainable tensors only
  // kExplore: asked for again after so many versions of training; 0: once.
  int64_t every_versions = 0;
};

// A client's contribution to an exploration: d/m coordinate by coordinate, d = (trained − base)²
// and m its mean, so that no client counts more for training longer; where the request's layout
// asks for twice as many values, then (trained − base)/√m. All zeros where nothing moved.
// `trained` and `base` have one layout. InvalidArgument: the request is not of it.
absl::StatusOr<ParamVector> Deviations(const ParamVector& base, const ParamVector& trained,
                                       const CollectRequest& request);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_COLLECTION_H_
