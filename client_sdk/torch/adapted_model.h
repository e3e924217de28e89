// AdaptedModel: a model of frozen weights with low-rank adapters beside them (Hu et al. 2021,
// "LoRA", arXiv 2106.09685, equation 3), as a model whose parameters are the adapters' factors.
//
//   y = W·x + b + s·B·(A·D(x))     A [r, n], B [m, r], s = plan.spec().Scale(r)
//
// D is dropout, of each value of x by itself. Of a convolution A is one with the layer's kernel,
// stride and padding to r channels, and B one of 1×1. Neither B·A nor a gradient of W is formed. A
// model that calls no hook works with W + s·B·A in the place of W instead, which forms both.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_ADAPTED_MODEL_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_ADAPTED_MODEL_H_

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/trainer.h"
#include "common/params/param_vector.h"
#include "common/rng.h"

namespace tributary {

// Of one module.
struct FactorTensors {
  at::Tensor a;  // [r, n]
  at::Tensor b;  // [m, r]
};

// For the training of one work order. Thread-compatible.
class AdaptedModel final : public TorchModel {
 public:
  // Its parameters are those of frozen.plan->AdapterLayout(frozen.rank, frozen.trains); the factor
  // that is not trained is the adapter's. `model` outlives it. InvalidArgument: the plan is not of
  // this model, `frozen` or `adapter` not of the plan; a module that is neither a linear layer nor
  // a convolution, or whose weight lies the other way than the plan says; dropout, where the model
  // calls no hook.
  static absl::StatusOr<std::unique_ptr<AdaptedModel>> Create(TorchModel& model,
                                                              const FrozenModel& frozen,
                                                              const ParamVector& adapter);

  // Frozen layers need no gradient of their weights: forward once and backward once. The adapters'
  // layers A and B beside each of them count as all layers do, but for the gradient of a factor
  // that is not trained. 0, which is not known, for a model that calls no hook.
  int64_t TrainMultiplyAdds(const ParamLayout& layout) const override;

  bool CallsHook() const override { return false; }
  // Only in training something is dropped: another draw in each forward pass.
  void Begin(Mode mode, const Rng& rng) override;
  at::Tensor Forward(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                     LayerHook* hook = nullptr) const override;

 private:
  AdaptedModel(TorchModel& model, const FrozenModel& frozen) : model_(model), frozen_(frozen) {}
  absl::Status AddModule(const LoraModule& module, const ParamVector& adapter);
  // Of every module, in the plan's order.
  std::vector<FactorTensors> FactorsOf(absl::Span<const at::Tensor> params) const;
  at::Tensor ForwardMerged(absl::Span<const FactorTensors> factors, const at::Tensor& inputs) const;

  TorchModel& model_;
  const FrozenModel frozen_;
  std::vector<at::Tensor> weights_;   // of model_, views into frozen_
  std::vector<size_t> places_;        // of the modules' weights among them
  std::vector<FactorTensors> fixed_;  // of the modules; those that are trained are undefined
  int64_t factor_multiply_adds_ = 0;
  double dropout_ = 0;
  mutable Rng rng_{0};
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_ADAPTED_MODEL_H_
