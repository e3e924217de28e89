#include "client_sdk/torch/submodel.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/params/layer_chain.h"

namespace tributary {
namespace {

using Tensor = ParamLayout::Tensor;

bool KeepsAny(const Mask& mask, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    if (mask.Keeps(i)) return true;
  }
  return false;
}

// Which units of the layer keep a weight.
std::vector<bool> KeptUnits(const ChainLayer& layer, const Mask& mask) {
  std::vector<bool> kept(static_cast<size_t>(layer.units));
  for (int64_t unit = 0; unit < layer.units; ++unit) {
    const int64_t begin = layer.weight->offset + unit * layer.fan_in;
    kept[static_cast<size_t>(unit)] = KeepsAny(mask, begin, begin + layer.fan_in);
  }
  return kept;
}

// Whether the mask keeps what the kept `units` make of the kept `inputs`, and nothing else.
bool KeepsWhole(const ChainLayer& layer, const std::vector<bool>& units,
                const std::vector<bool>& inputs, const Mask& mask) {
  for (int64_t unit = 0; unit < layer.units; ++unit) {
    const bool kept = units[static_cast<size_t>(unit)];
    if (layer.bias != nullptr && mask.Keeps(layer.bias->offset + unit) != kept) return false;
    for (int64_t i = 0; i < layer.fan_in; ++i) {
      const bool fed = layer.block == 0 || inputs[static_cast<size_t>(i / layer.block)];
      if (mask.Keeps(layer.weight->offset + unit * layer.fan_in + i) != (kept && fed)) return false;
    }
  }
  return true;
}

}  // namespace

LayoutPtr SubmodelLayout(const ParamLayout& layout, const Mask& mask) {
  const auto chain = DeriveLayerChain(layout);
  if (!chain.ok() || mask.count() == mask.size()) return nullptr;
  std::vector<Tensor> tensors;
  std::vector<bool> inputs;  // of the layer, by unit of the one before
  for (const ChainLayer& layer : *chain) {
    std::vector<bool> units = KeptUnits(layer, mask);
    const int64_t kept = std::count(units.begin(), units.end(), true);
    const bool logits = &layer == &chain->back();
    if (kept == 0 || (logits && kept < layer.units)) return nullptr;
    if (!KeepsWhole(layer, units, inputs, mask)) return nullptr;
    Tensor weight = {.name = layer.weight->name, .shape = layer.weight->shape};
    weight.shape[0] = kept;
    if (layer.block > 0) {
      const auto before = static_cast<int64_t>(inputs.size());
      weight.shape[1] = weight.shape[1] / before * std::count(inputs.begin(), inputs.end(), true);
    }
    tensors.push_back(std::move(weight));
    if (layer.bias != nullptr) tensors.push_back({.name = layer.bias->name, .shape = {kept}});
    inputs = std::move(units);
  }
  auto made = ParamLayout::Create(std::move(tensors));
  return made.ok() ? *std::move(made) : nullptr;
}

}  // namespace tributary
