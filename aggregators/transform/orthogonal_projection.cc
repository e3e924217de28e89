#include "aggregators/transform/orthogonal_projection.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "aggregators/lora/low_rank_products.h"
#include "aggregators/transform/row_projection.h"
#include "common/log.h"
#include "common/params/name_pattern.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

using Tensor = ParamLayout::Tensor;

constexpr int64_t kMaxDim = 1 << 14;  // a Gram matrix of 2 GiB in double
constexpr int64_t kBlockRows = 128;

// "fc1.weight" -> "fc1.bias"; the tensor of that name if it has one value for each output.
const Tensor* BiasOf(const ParamLayout& layout, const Tensor& weight) {
  absl::string_view stem = weight.name;
  if (!absl::ConsumeSuffix(&stem, "weight")) return nullptr;
  const Tensor* bias = layout.Find(absl::StrCat(stem, "bias"));
  const bool fits = bias != nullptr && bias->kind == TensorKind::kTrainable &&
                    bias->shape == std::vector<int64_t>{weight.shape[0]};
  return fits ? bias : nullptr;
}

bool IsWeight(const Tensor& tensor) {
  return tensor.kind == TensorKind::kTrainable && tensor.shape.size() >= 2 && tensor.size > 0;
}

absl::Status RefuseBatchNorm(const ParamLayout& layout) {
  for (const Tensor& tensor : layout.tensors()) {
    if (!absl::EndsWith(tensor.name, "running_mean")) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("orthogonal_projection: the model has batch norm (", tensor.name,
                     "), whose statistics change what old inputs become; use group norm"));
  }
  return absl::OkStatus();
}

}  // namespace

void OrthogonalProjectionOptions::Describe(config::Fields<OrthogonalProjectionOptions>& fields) {
  using O = OrthogonalProjectionOptions;
  fields.Add("energy", &O::energy, "share of the layers' input energy that a task protects")
      .Min(0)
      .Max(1);
  fields.Add("energy_increment", &O::energy_increment, "what `energy` grows by with each task")
      .Min(0)
      .Max(1);
  fields.Add("criterion", &O::criterion, "how shares of energy are measured")
      .OneOf({"exact", "ref"});
  fields.Add("method", &O::method, "what clients send of their layers' inputs")
      .OneOf({"gram", "sketch"});
  fields.Add("columns", &O::columns, "of a sketch, in multiples of the inputs' dimension")
      .GreaterThan(0)
      .Max(16);
  fields.Add("layers", &O::layers, "patterns of the weights to protect").MinItems(1);
  fields.Add("heads", &O::heads, "patterns of the tensors to leave free: the heads of tasks");
  fields
      .Add("biases", &O::biases, "protected as one input more, frozen after the first task, or not")
      .OneOf({"folded", "frozen", "ignored"});
}

absl::StatusOr<std::unique_ptr<OrthogonalProjection>> OrthogonalProjection::Create(
    const Options& options, const TransformDeps& deps) {
  std::unique_ptr<OrthogonalProjection> made(new OrthogonalProjection(options, deps));
  made->request_ = std::make_unique<CollectRequest>(CollectRequest{.kind = CollectKind::kSketch});
  if (deps.layout == nullptr) return made;
  TRIB_RETURN_IF_ERROR(RefuseBatchNorm(*deps.layout));
  TRIB_RETURN_IF_ERROR(deps.adapters ? made->ChooseModules() : made->ChooseLayers());
  TRIB_RETURN_IF_ERROR(made->MakeRequest());
  return made;
}

absl::Status OrthogonalProjection::ChooseLayers() {
  const ParamLayout& layout = *deps_.layout;
  std::set<const Tensor*> settled;  // folded, or free with their weight
  std::vector<bool> used(options_.layers.size());
  for (const Tensor& tensor : layout.tensors()) {
    if (!IsWeight(tensor) || MatchesAny(options_.heads, tensor.name)) continue;
    bool chosen = false;
    for (size_t i = 0; i < used.size(); ++i) {
      if (!MatchesPattern(options_.layers[i], tensor.name)) continue;
      used[i] = chosen = true;
    }
    const Tensor* bias = BiasOf(layout, tensor);
    if (!chosen || options_.biases == "folded") settled.insert(bias);
    if (!chosen) continue;
    const bool folds = bias != nullptr && options_.biases == "folded";
    layers_.push_back({.name = tensor.name,
                       .out = tensor.shape[0],
                       .fan_in = tensor.size / tensor.shape[0],
                       .weight = tensor.offset,
                       .bias = folds ? bias->offset : -1});
  }
  TRIB_RETURN_IF_ERROR(CheckChoice(used));
  for (const Tensor& tensor : layout.tensors()) {
    if (options_.biases == "ignored" || tensor.kind != TensorKind::kTrainable) continue;
    if (tensor.shape.size() >= 2 || settled.contains(&tensor)) continue;
    if (MatchesAny(options_.heads, tensor.name)) continue;
    frozen_.push_back({tensor.offset, tensor.offset + tensor.size});
  }
  return absl::OkStatus();
}

absl::Status OrthogonalProjection::ChooseModules() {
  std::vector<bool> used(options_.layers.size());
  for (const LoraModule& module : deps_.adapters->modules()) {
    if (MatchesAny(options_.heads, module.weight)) continue;
    bool chosen = false;
    for (size_t i = 0; i < used.size(); ++i) {
      if (!MatchesPattern(options_.layers[i], module.weight)) continue;
      used[i] = chosen = true;
    }
    if (!chosen) continue;
    layers_.push_back({.name = module.weight,
                       .out = module.rows,
                       .fan_in = module.columns,
                       .module = module.name});
  }
  return CheckChoice(used);
}

// `used`: whether each pattern has chosen anything.
absl::Status OrthogonalProjection::CheckChoice(const std::vector<bool>& used) const {
  for (const Layer& layer : layers_) {
    if (layer.dim() <= kMaxDim) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("orthogonal_projection: the inputs of ", layer.name, " have ", layer.dim(),
                     " dimensions; allowed: up to ", kMaxDim, "; leave it out of `layers`"));
  }
  const auto idle = std::find(used.begin(), used.end(), false);
  if (idle == used.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "orthogonal_projection: layers: '", options_.layers[static_cast<size_t>(idle - used.begin())],
      "' is no ",
      deps_.adapters ? "weight with an adapter" : "weight of the model with two or more dimensions",
      " outside `heads`"));
}

absl::Status OrthogonalProjection::MakeRequest() {
  std::vector<Tensor> tensors;
  nlohmann::json described = nlohmann::json::array();
  for (const Layer& layer : layers_) {
    const int64_t d = layer.dim();
    described.push_back({{"name", layer.name}, {"dim", d}, {"augmented", layer.bias >= 0}});
    if (options_.method == "gram") {
      tensors.push_back({.name = layer.name + ".gram", .shape = {d * (d + 1) / 2}});
    } else {
      const auto columns =
          static_cast<int64_t>(std::ceil(options_.columns * static_cast<double>(d)));
      tensors.push_back({.name = layer.name + ".sketch", .shape = {d, columns}});
      tensors.push_back({.name = layer.name + ".energy", .shape = {1}});
    }
  }
  auto request = std::make_unique<CollectRequest>();
  request->kind = CollectKind::kSketch;
  request->options_json =
      nlohmann::json({{"layers", described}, {"method", options_.method}}).dump();
  TRIB_ASSIGN_OR_RETURN(request->layout, ParamLayout::Create(std::move(tensors)));
  request_ = std::move(request);
  return absl::OkStatus();
}

absl::Status OrthogonalProjection::Learn(absl::Span<const double> sum, int64_t, absl::Span<float>,
                                         const TransformContext&) {
  const ParamLayout& contributed = *request_->layout;
  if (static_cast<int64_t>(sum.size()) != contributed.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the sum of the sketches has ", sum.size(),
                                                   " values; allowed: ", contributed.size()));
  }
  for (const Tensor& tensor : contributed.tensors()) {
    const auto part =
        sum.subspan(static_cast<size_t>(tensor.offset), static_cast<size_t>(tensor.size));
    if (std::all_of(part.begin(), part.end(), [](double x) { return std::isfinite(x); })) continue;
    return absl::OutOfRangeError(absl::StrCat("the sum of the sketches: ", tensor.name,
                                              " is not finite; allowed: finite values"));
  }
  const double epsilon = std::min(1.0, options_.energy + options_.energy_increment * tasks_);
  const auto criterion =
      options_.criterion == "exact" ? EnergyCriterion::kExact : EnergyCriterion::kReference;
  std::vector<Tensor> tensors;
  std::vector<float> values;
  for (const Layer& layer : layers_) {
    const auto take = [&](const char* what) {
      const Tensor* tensor = contributed.Find(layer.name + what);
      return sum.subspan(static_cast<size_t>(tensor->offset), static_cast<size_t>(tensor->size));
    };
    const int64_t dim = layer.dim();
    const InputEnergy energy = options_.method == "gram"
                                   ? EnergyOfGram(dim, take(".gram"))
                                   : EnergyOfSketch(dim, take(".sketch"), take(".energy")[0]);
    const absl::Span<const float> known = std::as_const(basis_).View(layer.name);
    const std::vector<float> added = NewDirections(known, energy, epsilon, criterion);
    values.insert(values.end(), known.begin(), known.end());
    values.insert(values.end(), added.begin(), added.end());
    const int64_t rank = static_cast<int64_t>(known.size() + added.size()) / dim;
    tensors.push_back({.name = layer.name, .shape = {rank, dim}});
    if (rank + 1 < dim) continue;
    log::Warning("earlier tasks fill the layer's input space: it learns no more",
                 {{"layer", layer.name}, {"directions", rank}, {"dimensions", dim}});
  }
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  basis_ = ParamVector(std::move(layout));
  std::copy(values.begin(), values.end(), basis_.values().begin());
  ++tasks_;
  warned_ = false;
  return absl::OkStatus();
}

absl::Status OrthogonalProjection::Restored() {
  if (basis_.empty() && tasks_ == 0) return absl::OkStatus();
  const auto damaged = [](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("the restored state of orthogonal_projection: ", what));
  };
  if (basis_.empty() || !(tasks_ >= 1)) return damaged("a basis belongs to one task or more");
  const auto& tensors = basis_.layout()->tensors();
  if (tensors.size() != layers_.size()) return damaged("other layers than the model's");
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto& shape = tensors[i].shape;
    const int64_t dim = layers_[i].dim();
    if (tensors[i].name != layers_[i].name || shape.size() != 2 || shape[1] != dim ||
        shape[0] > dim) {
      return damaged(absl::StrCat("the basis of ", layers_[i].name, " does not fit the layer"));
    }
  }
  return CheckFinite(*basis_.layout(), basis_.values()).ok() ? absl::OkStatus()
                                                             : damaged("a basis is not finite");
}

absl::Status OrthogonalProjection::Apply(Aggregate& aggregate, const TransformContext& context) {
  const absl::Span<float> delta = aggregate.delta.trainable();
  const auto size = static_cast<int64_t>(delta.size());
  if (context.mask != nullptr && context.mask->size() != size) {
    return absl::InvalidArgumentError(
        absl::StrCat("the mask has ", context.mask->size(), " coordinates; the delta has ", size));
  }
  if (basis_.empty()) return absl::OkStatus();
  std::atomic<int64_t> cleared = 0;
  // Blocks of fixed rows, so that threads change no bit; each belongs to the part of its first one.
  ForRanges(deps_.parallel, size, [&](CoordinateRange part) {
    for (const Layer& layer : layers_) {
      for (int64_t row = 0; row < layer.out; row += kBlockRows) {
        const int64_t first = layer.weight + row * layer.fan_in;
        if (first < part.begin || first >= part.end) continue;
        cleared += ProjectBlock(layer, row, delta, context.mask);
      }
    }
  });
  if (cleared > 0 && !std::exchange(warned_, true)) {
    log::Warning("mask and projection leave rows of weights next to no way: they are frozen",
                 {{"rows", cleared.load()}, {"version", context.version}});
  }
  if (basis_.layout()->size() == 0) return absl::OkStatus();
  for (const CoordinateRange& range : frozen_) {
    std::fill(delta.begin() + range.begin, delta.begin() + range.end, 0.0F);
  }
  return absl::OkStatus();
}

absl::Status OrthogonalProjection::ApplyLowRank(LowRankModel& delta, const TransformContext&) {
  if (basis_.empty()) return absl::OkStatus();
  for (const Layer& layer : layers_) {
    const auto module = delta.find(layer.module);
    const absl::Span<const float> directions = std::as_const(basis_).View(layer.name);
    if (module != delta.end() && !directions.empty()) {
      OrthogonalizeRows(directions, module->second);
    }
  }
  return absl::OkStatus();
}

int64_t OrthogonalProjection::ProjectBlock(const Layer& layer, int64_t first_row,
                                           absl::Span<float> delta, const Mask* mask) const {
  const absl::Span<const float> directions = basis_.View(layer.name);
  if (directions.empty()) return 0;
  const int64_t count = std::min(kBlockRows, layer.out - first_row);
  // Calls visit(offset in the delta, index in the block) for every coordinate of these rows.
  const auto for_each = [&](const auto& visit) {
    size_t index = 0;
    for (int64_t row = first_row; row < first_row + count; ++row) {
      const int64_t begin = layer.weight + row * layer.fan_in;
      for (int64_t i = begin; i < begin + layer.fan_in; ++i) visit(static_cast<size_t>(i), index++);
      if (layer.bias >= 0) visit(static_cast<size_t>(layer.bias + row), index++);
    }
  };
  std::vector<float> rows(static_cast<size_t>(count * layer.dim())), keep;
  for_each([&](size_t from, size_t to) { rows[to] = delta[from]; });
  if (mask != nullptr) {
    keep.resize(rows.size());
    for_each([&](size_t from, size_t to) {
      keep[to] = mask->Keeps(static_cast<int64_t>(from)) ? 1.0F : 0.0F;
    });
  }
  const int64_t cleared = ProjectRows(layer.dim(), directions, keep, absl::MakeSpan(rows));
  for_each([&](size_t to, size_t from) { delta[to] = rows[from]; });
  return cleared;
}

}  // namespace tributary
