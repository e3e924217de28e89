#include "client_sdk/torch/adapted_model.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// Adds what the adapters give to what their layers give.
class AdapterHook final : public LayerHook {
 public:
  AdapterHook(double scale, double dropout, Rng& rng)
      : scale_(scale), dropout_(dropout), rng_(rng) {}

  void Add(const std::string& weight, const FactorTensors* factors) {
    factors_.emplace(weight, factors);
  }

  void Linear(const std::string& weight, const at::Tensor& x, const at::Tensor& y) override {
    const auto found = factors_.find(weight);
    if (found == factors_.end()) return;
    const auto& [a, b] = *found->second;
    y.addmm_(at::linear(Dropped(x), a), b.t(), /*beta=*/1, scale_);
  }

  void Conv(const std::string& weight, const at::Tensor& x, int64_t kernel, int64_t stride,
            int64_t padding, const at::Tensor& y) override {
    const auto found = factors_.find(weight);
    if (found == factors_.end()) return;
    const auto& [a, b] = *found->second;
    const at::Tensor low =
        at::conv2d(Dropped(x), a.view({a.size(0), -1, kernel, kernel}), {}, stride, padding);
    y.add_(at::conv2d(low, b.view({b.size(0), b.size(1), 1, 1})), scale_);
  }

 private:
  at::Tensor Dropped(const at::Tensor& x) {
    if (dropout_ == 0) return x;
    const auto kept = static_cast<float>(1 / (1 - dropout_));
    const at::Tensor factor = at::empty(x.sizes());
    float* const values = factor.data_ptr<float>();
    for (int64_t i = 0; i < factor.numel(); ++i) values[i] = rng_.Bernoulli(dropout_) ? 0 : kept;
    return x * factor;
  }

  const double scale_;
  const double dropout_;
  Rng& rng_;
  std::map<std::string, const FactorTensors*> factors_;  // by weight
};

absl::Status NoLayer(const TorchModel& model, const LoraModule& module) {
  std::vector<absl::string_view> layers;
  for (const ModelParam& param : model.params()) {
    if (param.layer != LayerWeight::kNone) {
      layers.push_back(absl::StripSuffix(param.name, ".weight"));
    }
  }
  constexpr size_t kShown = 20;
  const bool more = layers.size() > kShown;
  layers.resize(std::min(layers.size(), kShown));
  return absl::InvalidArgumentError(absl::StrCat(
      "lora.targets: '", module.name, "' is neither a linear layer nor a convolution; allowed: ",
      absl::StrJoin(layers, ", "), more ? ", …" : ""));
}

absl::Status CheckModule(const TorchModel& model, const LoraModule& module,
                         const ModelParam& param) {
  if (param.layer == LayerWeight::kNone) return NoLayer(model, module);
  if (module.transposed == (param.layer == LayerWeight::kInputsFirst)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "lora.fan_in_fan_out: the weight of '", module.name, "' is taken for ",
      module.transposed ? "[inputs, outputs]; it is [outputs, inputs]; allowed: false"
                        : "[outputs, inputs]; it is [inputs, outputs]; allowed: true"));
}

absl::Status CheckPlan(const TorchModel& model, const FrozenModel& frozen,
                       const ParamVector& adapter) {
  const LoraPlan& plan = *frozen.plan;
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, LayoutOf(model));
  TRIB_RETURN_IF_ERROR(CheckLayout(*layout, *plan.ordinary()));
  TRIB_RETURN_IF_ERROR(CheckLayout(*plan.model(), *frozen.model));
  if (frozen.rank < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the adapter's rank is ", frozen.rank, "; allowed: at least 1"));
  }
  TRIB_RETURN_IF_ERROR(
      WithContext(CheckLayout(*plan.AdapterLayout(frozen.rank), adapter), "the adapter"));
  if (model.CallsHook() || plan.spec().dropout == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("lora.dropout is ", plan.spec().dropout,
                   "; this model does not show its layers' inputs, of which it would drop some; "
                   "allowed: 0"));
}

at::Tensor FactorOf(const ParamVector& adapter, const LoraModule& module, char factor) {
  const std::string name = FactorName(module.name, factor);
  const absl::Span<const float> values = adapter.View(name);
  auto* data = const_cast<float*>(values.data());  // a tensor has no const form
  return at::from_blob(data, adapter.layout()->Find(name)->shape).clone();
}

}  // namespace

absl::StatusOr<std::unique_ptr<AdaptedModel>> AdaptedModel::Create(TorchModel& model,
                                                                   const FrozenModel& frozen,
                                                                   const ParamVector& adapter) {
  TRIB_RETURN_IF_ERROR(CheckPlan(model, frozen, adapter));
  std::unique_ptr<AdaptedModel> made(new AdaptedModel(model, frozen));
  const std::vector<at::Tensor> views =
      ParamViews(*frozen.model->layout(), frozen.model->values().data(), /*with_gradients=*/false);
  const std::vector<ParamLayout::Tensor>& tensors = frozen.model->layout()->tensors();
  for (const ModelParam& param : model.params()) {
    const auto found = std::ranges::find(tensors, param.name, &ParamLayout::Tensor::name);
    TRIB_CHECK(found != tensors.end());
    made->weights_.push_back(views[static_cast<size_t>(found - tensors.begin())]);
  }
  for (const LoraModule& module : frozen.plan->modules()) {
    TRIB_RETURN_IF_ERROR(made->AddModule(module, adapter));
  }
  return made;
}

absl::Status AdaptedModel::AddModule(const LoraModule& module, const ParamVector& adapter) {
  const std::vector<ModelParam>& params = model_.params();
  const auto found = std::ranges::find(params, module.weight, &ModelParam::name);
  TRIB_CHECK(found != params.end());
  if (model_.CallsHook()) TRIB_RETURN_IF_ERROR(CheckModule(model_, module, *found));
  places_.push_back(static_cast<size_t>(found - params.begin()));
  const auto take = [&](char factor, AdapterFactors alone, std::vector<int64_t> shape) {
    factor_multiply_adds_ += shape[0] * shape[1] * found->uses;
    if (frozen_.trains != AdapterFactors::kBoth && frozen_.trains != alone) {
      return FactorOf(adapter, module, factor);
    }
    AddParam({.name = FactorName(module.name, factor),
              .shape = std::move(shape),
              .uses = found->uses,
              .layer = LayerWeight::kOutputsFirst});
    return at::Tensor();
  };
  at::Tensor a = take('A', AdapterFactors::kA, {frozen_.rank, module.columns});
  at::Tensor b = take('B', AdapterFactors::kB, {module.rows, frozen_.rank});
  fixed_.push_back({std::move(a), std::move(b)});
  return absl::OkStatus();
}

void AdaptedModel::Begin(Mode mode, const Rng& rng) {
  model_.Begin(mode, rng);
  dropout_ = mode == Mode::kTrain ? frozen_.plan->spec().dropout : 0;
  rng_ = rng.Split("dropout");
}

int64_t AdaptedModel::TrainMultiplyAdds(const ParamLayout& layout) const {
  if (!model_.CallsHook()) return 0;
  return 2 * model_.ForwardMultiplyAdds(*frozen_.plan->ordinary()) + 2 * factor_multiply_adds_ +
         ForwardMultiplyAdds(layout);
}

std::vector<FactorTensors> AdaptedModel::FactorsOf(absl::Span<const at::Tensor> params) const {
  size_t next = 0;
  std::vector<FactorTensors> factors = fixed_;
  for (auto& [a, b] : factors) {
    if (!a.defined()) a = params[next++];
    if (!b.defined()) b = params[next++];
  }
  return factors;
}

at::Tensor AdaptedModel::Forward(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                                 LayerHook* /*hook*/) const {
  const std::vector<FactorTensors> factors = FactorsOf(params);
  if (!model_.CallsHook()) return ForwardMerged(factors, inputs);
  AdapterHook hook(frozen_.plan->spec().Scale(frozen_.rank), dropout_, rng_);
  for (size_t i = 0; i < factors.size(); ++i) {
    hook.Add(frozen_.plan->modules()[i].weight, &factors[i]);
  }
  return model_.Forward(weights_, inputs, &hook);
}

at::Tensor AdaptedModel::ForwardMerged(absl::Span<const FactorTensors> factors,
                                       const at::Tensor& inputs) const {
  const double scale = frozen_.plan->spec().Scale(frozen_.rank);
  std::vector<at::Tensor> weights = weights_;
  for (size_t i = 0; i < factors.size(); ++i) {
    const auto& [a, b] = factors[i];
    const bool transposed = frozen_.plan->modules()[i].transposed;
    const at::Tensor product = transposed ? at::mm(a.t(), b.t()) : at::mm(b, a);
    at::Tensor& weight = weights[places_[i]];
    weight = at::add(weight, product.view(weight.sizes()), scale);
  }
  return model_.Forward(weights, inputs);
}

}  // namespace tributary
