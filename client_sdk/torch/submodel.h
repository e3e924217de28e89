// Submodel: the smaller dense model that a structured mask leaves of a chain of layers. Training
// it gives what training the masked model gives, in less time.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_SUBMODEL_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_SUBMODEL_H_

#include "common/params/mask.h"
#include "common/params/param_layout.h"

namespace tributary {

// The layout of the same tensors without the units that the mask removes. Its values are those
// that the mask keeps, in their order (GatherKept, ScatterKept). Null if the mask leaves no such
// model: the layers are no chain (layer_chain.h), it prunes single weights, or nothing at all, or
// a logit. `mask` has the layout's trainable_size().
//
// The two models agree if an activation gives 0 for a unit without inputs, as ReLU does.
LayoutPtr SubmodelLayout(const ParamLayout& layout, const Mask& mask);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_SUBMODEL_H_
