#include "common/params/layer_chain.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/check.h"

namespace tributary {
namespace {

using Tensor = ParamLayout::Tensor;

std::string Described(const Tensor& tensor) {
  return absl::StrCat(tensor.name, " [", absl::StrJoin(tensor.shape, ", "), "]");
}

absl::Status NoChain(const Tensor& tensor, absl::string_view reason) {
  return absl::InvalidArgumentError(
      absl::StrCat("units can be removed from a plain chain of linear and convolution layers; ",
                   Described(tensor), " ", reason, "; prune single weights instead"));
}

// The bias "fc1.bias" belongs to the weight "fc1.weight".
bool IsBiasOf(const Tensor& bias, const Tensor& weight) {
  absl::string_view stem = weight.name;
  return absl::ConsumeSuffix(&stem, "weight") && bias.name == absl::StrCat(stem, "bias") &&
         bias.shape == std::vector<int64_t>{weight.shape[0]};
}

}  // namespace

absl::StatusOr<std::vector<ChainLayer>> DeriveLayerChain(const ParamLayout& layout) {
  std::vector<ChainLayer> chain;
  for (const Tensor& tensor : layout.tensors()) {
    if (tensor.kind != TensorKind::kTrainable) {
      if (tensor.shape.empty()) continue;  // a counter
      return NoChain(tensor, "is a buffer, as norms have, which tie units together");
    }
    if (tensor.size == 0) return NoChain(tensor, "is empty");
    if (tensor.shape.size() < 2) {
      if (chain.empty() || chain.back().bias != nullptr ||
          !IsBiasOf(tensor, *chain.back().weight)) {
        return NoChain(tensor, "is not the bias of the weight before it");
      }
      chain.back().bias = &tensor;
      continue;
    }
    ChainLayer layer{
        .weight = &tensor, .units = tensor.shape[0], .fan_in = tensor.size / tensor.shape[0]};
    if (!chain.empty()) {
      const ChainLayer& before = chain.back();
      const bool flattens = tensor.shape.size() == 2 && before.weight->shape.size() > 2;
      const bool same_kind = (tensor.shape.size() == 2) == (before.weight->shape.size() == 2);
      const bool fits = flattens ? layer.fan_in % before.units == 0
                                 : same_kind && tensor.shape[1] == before.units;
      if (!fits) {
        return NoChain(tensor,
                       absl::StrCat("does not take what ", Described(*before.weight), " gives"));
      }
      layer.block = layer.fan_in / before.units;
    }
    chain.push_back(layer);
  }
  if (chain.size() < 2) {
    return absl::InvalidArgumentError(
        "there are no hidden units to remove: the model has one layer");
  }
  return chain;
}

void RemoveUnit(absl::Span<const ChainLayer> chain, size_t layer, int64_t unit,
                std::vector<bool>& keep) {
  TRIB_CHECK(layer + 1 < chain.size());
  const ChainLayer &of = chain[layer], &next = chain[layer + 1];
  const auto drop = [&](int64_t begin, int64_t count) {
    std::fill_n(keep.begin() + begin, count, false);
  };
  drop(of.weight->offset + unit * of.fan_in, of.fan_in);
  if (of.bias != nullptr) drop(of.bias->offset + unit, 1);
  for (int64_t row = 0; row < next.units; ++row) {
    drop(next.weight->offset + row * next.fan_in + unit * next.block, next.block);
  }
}

}  // namespace tributary
