// LayerChain: which units of a model feed which inputs, read from the layout of a plain chain of
// layers, so that a unit can be removed with all that belongs to it.
#ifndef TRIBUTARY_COMMON_PARAMS_LAYER_CHAIN_H_
#define TRIBUTARY_COMMON_PARAMS_LAYER_CHAIN_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/params/param_layout.h"

namespace tributary {

// A linear layer or a convolution: weight [units, inputs…], row j and bias j make unit j.
struct ChainLayer {
  const ParamLayout::Tensor* weight = nullptr;  // of the layout
  const ParamLayout::Tensor* bias = nullptr;    // null: none
  int64_t units = 0;                            // outputs, or filters
  int64_t fan_in = 0;                           // weights of a unit
  // Unit j of the layer before feeds weights [j·block, (j + 1)·block) of every unit: the pixels of
  // its kernel, or of what was flattened, channel by channel. 0: the first layer.
  int64_t block = 0;
};

// The layers in the layout's order, the last of which gives the logits. InvalidArgument with the
// tensor and the reason unless every layer takes exactly what the one before gives and there is
// nothing trainable beside weights and their biases: a norm or a shortcut ties units together.
// A shortcut without parameters between layers of one width cannot be seen; such models are not
// for this.
absl::StatusOr<std::vector<ChainLayer>> DeriveLayerChain(const ParamLayout& layout);

// Takes a unit of a layer before the last out of `keep`, which has an entry for every trainable
// coordinate: its weights, its bias, and what it feeds of the next layer.
void RemoveUnit(absl::Span<const ChainLayer> chain, size_t layer, int64_t unit,
                std::vector<bool>& keep);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_LAYER_CHAIN_H_
