#include "client_sdk/torch/models.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client_sdk/torch/language_models.h"
#include "common/rng.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

using Params = absl::Span<const at::Tensor>;

// What a stride of two leaves of a side, with `same` padding.
int64_t Halved(int64_t size) { return (size + 1) / 2; }

int64_t Product(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

// logistic has no hidden layer.
class Mlp : public TorchModel {
 public:
  Mlp(const DataShape& shape, std::vector<int64_t> hidden) {
    std::vector<int64_t> widths = std::move(hidden);
    widths.insert(widths.begin(), Product(shape.example_shape));
    widths.push_back(shape.num_classes);
    for (size_t i = 1; i < widths.size(); ++i) {
      AddLinear(absl::StrCat("fc", i), widths[i - 1], widths[i]);
    }
  }

  at::Tensor Forward(Params p, const at::Tensor& inputs, LayerHook* hook) const override {
    at::Tensor x = inputs.flatten(1);
    for (size_t i = 0; i + 2 < p.size(); i += 2)
      x = Linear(p, i, /*has_bias=*/true, x, hook).relu_();
    return Linear(p, p.size() - 2, /*has_bias=*/true, x, hook);
  }
};

// Two strided 5×5 convolutions, average pooling to about 3×3, two linear layers. Strides
// and not max-pooling, which would be a large part of the step. 51,530 parameters for
// 1×28×28 and 10 classes.
class Cnn : public TorchModel {
 public:
  explicit Cnn(const DataShape& shape)
      : pool_height_(Pool(shape.example_shape[1])), pool_width_(Pool(shape.example_shape[2])) {
    int64_t height = Halved(shape.example_shape[1]), width = Halved(shape.example_shape[2]);
    AddConv("conv1", shape.example_shape[0], 16, 5, height * width, /*bias=*/true);
    height = Halved(height), width = Halved(width);
    AddConv("conv2", 16, 32, 5, height * width, /*bias=*/true);
    AddLinear("fc1", 32 * (height / pool_height_) * (width / pool_width_), 128);
    AddLinear("fc2", 128, shape.num_classes);
  }

  at::Tensor Forward(Params p, const at::Tensor& inputs, LayerHook* hook) const override {
    at::Tensor x = inputs;
    for (const size_t i : {0, 2}) {
      x = Conv(p, i, /*has_bias=*/true, x, /*stride=*/2, /*padding=*/2, hook).relu_();
    }
    x = at::avg_pool2d(x, {pool_height_, pool_width_});
    x = Linear(p, 4, /*has_bias=*/true, x.flatten(1), hook).relu_();
    return Linear(p, 6, /*has_bias=*/true, x, hook);
  }

 private:
  static int64_t Pool(int64_t size) { return std::max<int64_t>(1, Halved(Halved(size)) / 3); }

  const int64_t pool_height_;
  const int64_t pool_width_;
};

// A residual network (He et al. 2016) of three stages with one basic block each, 16, 32 and
// 64 channels, and a strided stem; group norm (Wu & He 2018), which has no running
// statistics to disagree about between clients.
class ResNet : public TorchModel {
 public:
  explicit ResNet(const DataShape& shape) {
    int64_t height = Halved(shape.example_shape[1]), width = Halved(shape.example_shape[2]);
    AddConv("conv1", shape.example_shape[0], kChannels[0], 3, height * width, /*bias=*/false);
    AddGroupNorm("gn1", kChannels[0]);
    int64_t in = kChannels[0];
    for (size_t stage = 0; stage < kStages; ++stage) {
      const std::string block = absl::StrCat("layer", stage + 1, ".0");
      const int64_t out = kChannels[stage];
      if (stage > 0) height = Halved(height), width = Halved(width);
      const int64_t outputs = height * width;
      AddConv(block + ".conv1", in, out, 3, outputs, /*bias=*/false);
      AddGroupNorm(block + ".gn1", out);
      AddConv(block + ".conv2", out, out, 3, outputs, /*bias=*/false);
      AddGroupNorm(block + ".gn2", out);
      if (stage > 0) AddConv(block + ".downsample", in, out, 1, outputs, /*bias=*/false);
      in = out;
    }
    AddLinear("fc", in, shape.num_classes);
  }

  at::Tensor Forward(Params p, const at::Tensor& inputs, LayerHook* hook) const override {
    size_t next = 0;
    const auto take = [&]() -> const at::Tensor& { return p[next++]; };
    const auto conv = [&](const at::Tensor& x, int64_t stride, int64_t padding) {
      return Conv(p, next++, /*has_bias=*/false, x, stride, padding, hook);
    };
    const auto norm = [&](const at::Tensor& x) {
      const at::Tensor& weight = take();
      return at::group_norm(x, kGroups, weight, take());
    };
    at::Tensor x = norm(conv(inputs, 2, 1)).relu_();
    for (size_t stage = 0; stage < kStages; ++stage) {
      const int64_t stride = stage > 0 ? 2 : 1;
      at::Tensor y = norm(conv(x, stride, 1)).relu_();
      y = norm(conv(y, 1, 1));
      x = (y + (stage > 0 ? conv(x, stride, 0) : x)).relu_();
    }
    return Linear(p, next, /*has_bias=*/true, x.mean({2, 3}), hook);
  }

 private:
  static constexpr size_t kStages = 3;
  static constexpr int64_t kChannels[kStages] = {16, 32, 64};
  static constexpr int64_t kGroups = 8;
};

absl::Status NeedsImages(const BuiltinModel& spec, const DataShape& shape) {
  if (shape.example_shape.size() == 3) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("model ", spec.name,
                   " needs images of shape (channels, height, width); the "
                   "data's shape is (",
                   absl::StrJoin(shape.example_shape, ", "), "); allowed here: logistic, mlp"));
}

}  // namespace

void TorchModel::AddLinear(const std::string& name, int64_t in, int64_t out) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  params_.push_back(
      {name + ".weight", {out, in}, bound, 0.0, /*uses=*/1, 0.0, LayerWeight::kOutputsFirst});
  params_.push_back({name + ".bias", {out}, bound});
}

void TorchModel::AddConv(const std::string& name, int64_t in, int64_t out, int64_t kernel,
                         int64_t outputs, bool bias) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(in * kernel * kernel));
  params_.push_back({name + ".weight",
                     {out, in, kernel, kernel},
                     bound,
                     0.0,
                     /*uses=*/outputs,
                     0.0,
                     LayerWeight::kOutputsFirst});
  if (bias) params_.push_back({name + ".bias", {out}, bound});
}

void TorchModel::AddGroupNorm(const std::string& name, int64_t channels) {
  params_.push_back({name + ".weight", {channels}, 0.0, 1.0});
  params_.push_back({name + ".bias", {channels}});
}

at::Tensor TorchModel::Linear(Params params, size_t first, bool has_bias, const at::Tensor& x,
                              LayerHook* hook) const {
  const at::Tensor y = at::linear(x, params[first], has_bias ? params[first + 1] : at::Tensor());
  if (hook != nullptr) hook->Linear(params_[first].name, x, y);
  return y;
}

at::Tensor TorchModel::Conv1d(Params params, size_t first, const at::Tensor& x,
                              LayerHook* hook) const {
  const at::Tensor y = at::addmm(params[first + 1], x, params[first]);
  if (hook != nullptr) hook->Linear(params_[first].name, x, y);
  return y;
}

at::Tensor TorchModel::Conv(Params params, size_t first, bool has_bias, const at::Tensor& x,
                            int64_t stride, int64_t padding, LayerHook* hook) const {
  const at::Tensor& weight = params[first];
  const at::Tensor y =
      at::conv2d(x, weight, has_bias ? params[first + 1] : at::Tensor(), stride, padding);
  if (hook != nullptr) hook->Conv(params_[first].name, x, weight.size(3), stride, padding, y);
  return y;
}

int64_t TorchModel::ForwardMultiplyAdds(const ParamLayout& layout) const {
  int64_t sum = 0;
  for (size_t i = 0; i < params_.size(); ++i) sum += layout.tensors()[i].size * params_[i].uses;
  return sum;
}

absl::StatusOr<ParamVector> TorchModel::InitialParams(LayoutPtr layout, uint64_t seed) const {
  ParamVector params(std::move(layout));
  for (const ModelParam& param : params_) {
    Rng rng = Rng(seed).Split(param.name);
    for (float& value : params.View(param.name)) {
      value = static_cast<float>(param.deviation > 0
                                     ? rng.Normal(0, param.deviation)
                                     : param.centre + rng.Uniform(-param.bound, param.bound));
    }
  }
  return params;
}

absl::StatusOr<std::unique_ptr<TorchModel>> MakeModel(const BuiltinModel& spec,
                                                      const DataShape& shape) {
  if (spec.is_language_model()) return MakeLanguageModel(spec, shape);
  if (shape.tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", spec.name, " does not read text; allowed for these data: gpt, llama"));
  }
  std::unique_ptr<TorchModel> model;
  if (spec.name == "logistic") {
    model = std::make_unique<Mlp>(shape, std::vector<int64_t>{});
  } else if (spec.name == "mlp") {
    model = std::make_unique<Mlp>(shape, spec.HiddenWidths());
  } else if (spec.name == "cnn") {
    TRIB_RETURN_IF_ERROR(NeedsImages(spec, shape));
    model = std::make_unique<Cnn>(shape);
  } else if (spec.name == "resnet") {
    TRIB_RETURN_IF_ERROR(NeedsImages(spec, shape));
    model = std::make_unique<ResNet>(shape);
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("no built-in model is called '", spec.name, "'"));
  }
  return model;
}

absl::StatusOr<LayoutPtr> LayoutOf(const TorchModel& model) {
  std::vector<ParamLayout::Tensor> tensors;
  for (const ModelParam& param : model.params())
    tensors.push_back({param.name, param.shape, param.kind});
  return ParamLayout::Create(std::move(tensors));
}

absl::Status CheckLayout(const ParamLayout& expected, const ParamVector& model) {
  if (model.empty()) return absl::InvalidArgumentError("the model has no layout");
  return CheckLayout(expected, *model.layout());
}

absl::Status CheckLayout(const ParamLayout& expected, const ParamLayout& found) {
  if (&found == &expected || found.digest() == expected.digest()) return absl::OkStatus();
  for (const ParamLayout::Tensor& tensor : expected.tensors()) {
    const ParamLayout::Tensor* other = found.Find(tensor.name);
    if (other != nullptr && other->shape == tensor.shape && other->kind == tensor.kind) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "the model's tensor '", tensor.name, "' ",
        other == nullptr ? "is missing" : "has another shape or kind than this job's model"));
  }
  return absl::InvalidArgumentError(absl::StrCat("the model has ", found.tensors().size(),
                                                 " tensors; this job's has ",
                                                 expected.tensors().size()));
}

std::vector<at::Tensor> ParamViews(const ParamLayout& layout, const float* values,
                                   bool with_gradients) {
  std::vector<at::Tensor> views;
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    auto* data = const_cast<float*>(values + tensor.offset);  // a tensor has no const form
    const at::Tensor view = at::from_blob(data, tensor.shape);
    const bool trainable = tensor.kind == TensorKind::kTrainable;
    views.push_back(with_gradients || trainable
                        ? view.set_requires_grad(with_gradients && trainable)
                        : view.clone());
  }
  return views;
}

}  // namespace tributary
