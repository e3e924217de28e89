#include "client_sdk/torch/layer_inputs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr char kGram[] = "gram";

int64_t TriangleSize(int64_t dim) { return dim * (dim + 1) / 2; }

}  // namespace

void SketchOptions::Layer::Describe(config::Fields<Layer>& fields) {
  fields.Add("name", &Layer::name, "the layer's weight").Required();
  fields.Add("dim", &Layer::dim, "size of an input").Required().Min(1);
  fields.Add("augmented", &Layer::augmented, "whether a 1 follows each input");
}

void SketchOptions::Describe(config::Fields<SketchOptions>& fields) {
  fields.Add("layers", &SketchOptions::layers, "whose inputs are asked for").Required();
  fields.Add("method", &SketchOptions::method, "what of them").OneOf({kGram, "sketch"});
}

absl::StatusOr<InputSketch> InputSketch::Create(const CollectRequest& request, Rng rng) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(request.options_json));
  TRIB_ASSIGN_OR_RETURN(const auto options, config::Parse<SketchOptions>(node, "sketch"));
  InputSketch sketch;
  for (const SketchOptions::Layer& layer : options.layers) {
    Sum sum{.layer = layer, .sum = {}, .rng = rng.Split(layer.name)};
    const bool gram = options.method == kGram;
    const std::string name = absl::StrCat(layer.name, gram ? ".gram" : ".sketch");
    const ParamLayout::Tensor* const tensor = request.layout->Find(name);
    const bool has_energy = gram || request.layout->Find(layer.name + ".energy") != nullptr;
    if (tensor == nullptr || !has_energy || tensor->size < 1 ||
        (gram ? tensor->size != TriangleSize(layer.dim) : tensor->size % layer.dim != 0)) {
      return absl::InvalidArgumentError(absl::StrCat("sketch.layers: the request's layout has no '",
                                                     name, "' of dimension ", layer.dim));
    }
    if (!gram) sum.columns = tensor->size / layer.dim;
    sketch.sums_.emplace(layer.name, std::move(sum));
  }
  return sketch;
}

void InputSketch::Linear(const std::string& weight, const at::Tensor& x, const at::Tensor& /*y*/) {
  Add(weight, x);
}

void InputSketch::Conv(const std::string& weight, const at::Tensor& x, int64_t kernel,
                       int64_t stride, int64_t padding, const at::Tensor& /*y*/) {
  if (!sums_.contains(weight)) return;
  const at::Tensor columns =
      at::im2col(x, {kernel, kernel}, {1, 1}, {padding, padding}, {stride, stride});
  Add(weight, columns.transpose(1, 2).reshape({-1, columns.size(1)}));
}

void InputSketch::Add(const std::string& weight, at::Tensor rows) {
  const auto it = sums_.find(weight);
  if (it == sums_.end()) return;
  Sum& sum = it->second;
  if (sum.layer.augmented) rows = at::cat({rows, at::ones({rows.size(0), 1})}, 1);
  sum.found = rows.size(1);
  if (sum.found != sum.layer.dim) return;
  at::Tensor right = rows;
  if (sum.columns > 0) {
    right = at::empty({rows.size(0), sum.columns});
    float* const values = right.data_ptr<float>();
    for (int64_t i = 0; i < right.numel(); ++i) values[i] = static_cast<float>(sum.rng.Normal());
    sum.energy += rows.square().sum(at::kDouble).item<double>();
  }
  const at::Tensor product = at::mm(rows.t(), right).to(at::kDouble);
  sum.sum = sum.sum.defined() ? sum.sum + product : product;
}

absl::Status InputSketch::Write(ParamVector& sketch) const {
  for (const auto& [weight, sum] : sums_) {
    if (!sum.sum.defined()) {
      return absl::InvalidArgumentError(
          absl::StrCat("sketch.layers: '", weight, "': ",
                       sum.found < 0 ? "the model has no such linear layer or convolution"
                                     : absl::StrCat("its inputs have ", sum.found,
                                                    " values, asked were ", sum.layer.dim)));
    }
    const auto matrix = sum.sum.accessor<double, 2>();
    const absl::Span<float> out =
        sketch.View(absl::StrCat(weight, sum.columns > 0 ? ".sketch" : ".gram"));
    size_t next = 0;
    for (int64_t i = 0; i < matrix.size(0); ++i) {
      for (int64_t j = sum.columns > 0 ? 0 : i; j < matrix.size(1); ++j) {
        out[next++] = static_cast<float>(matrix[i][j]);
      }
    }
    if (sum.columns > 0) sketch.View(weight + ".energy")[0] = static_cast<float>(sum.energy);
  }
  return absl::OkStatus();
}

}  // namespace tributary
