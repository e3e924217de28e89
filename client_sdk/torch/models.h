// Models as functions: a model names its parameters and maps (parameters, inputs) to logits. Its
// parameters are views into a ParamVector. The built-in ones are made here; script_model.h has
// those that come as programs.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_MODELS_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_MODELS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client_sdk/torch/layer_hook.h"
#include "client_sdk/torch/torch_include.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/params/param_vector.h"
#include "common/rng.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

// Where the inputs are in the weight of a linear layer or convolution: [out, in…], or [in, out].
// kNone: it is no such weight, and hooks are not told of it.
enum class LayerWeight { kNone, kOutputsFirst, kInputsFirst };

// A tensor and how it begins: uniform in centre ± bound; or, with a deviation, normal about 0.
struct ModelParam {
  std::string name;
  std::vector<int64_t> shape;
  double bound = 0;
  double centre = 0;
  int64_t uses = 0;  // multiplications with each of its values, in one forward pass of an example
  double deviation = 0;
  LayerWeight layer = LayerWeight::kNone;
  TensorKind kind = TensorKind::kTrainable;  // a program may have buffers, after all others
};

enum class Mode { kTrain, kEvaluate };

// Thread-compatible. The built-in models have no state.
class TorchModel {
 public:
  virtual ~TorchModel() = default;

  // In the order in which Forward takes them.
  const std::vector<ModelParam>& params() const { return params_; }

  // Multiplications with weights in the forward pass of one example, with parameters of these
  // shapes: of linear layers and convolutions, a bias, a norm, an activation and pooling left out.
  // Padding counts.
  // 0: not known, of a program.
  int64_t ForwardMultiplyAdds(const ParamLayout& layout) const;
  // Of training on one example once: forward, and backward a gradient for the inputs and one for
  // the weights of each layer. The first layer's inputs need none; it is counted all the same.
  virtual int64_t TrainMultiplyAdds(const ParamLayout& layout) const {
    return 3 * ForwardMultiplyAdds(layout);
  }

  // Whether Forward calls its hook for every weight of a layer.
  virtual bool CallsHook() const { return true; }

  // OK if the model can show its layers' inputs; else why not.
  virtual absl::Status CanShowInputs() const { return absl::OkStatus(); }
  // As Forward, for what each linear layer and convolution is given: what it gives may be
  // undefined.
  virtual void ShowInputs(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                          LayerHook& hook) const {
    Forward(params, inputs, &hook);
  }

  // Of the model's layout. The values that a program holds; of a built-in model, every tensor from
  // its own stream, Rng(seed).Split(name).
  virtual absl::StatusOr<ParamVector> InitialParams(LayoutPtr layout, uint64_t seed) const;

  // Whether Forward takes the parameters of a model with fewer units (submodel.h).
  virtual bool TakesSubmodels() const { return true; }

  // Before a task's forward passes: what the model keeps from one to the next begins anew; what it
  // draws comes from `rng`.
  virtual void Begin(Mode /*mode*/, const Rng& /*rng*/) {}

  // logits [n, num_classes] of inputs [n, example_shape…]; of tokens [n, length], the logits
  // [n · length, vocabulary] of the token after each one. The parameters need be no leaves of
  // autograd: gradients reach what they were made of. Buffers are written to in training.
  // `hook` may be null.
  virtual at::Tensor Forward(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                             LayerHook* hook = nullptr) const = 0;

 protected:
  void AddParam(ModelParam param) { params_.push_back(std::move(param)); }
  // Each appends its parameters: weights and biases begin in ±1/√fan_in, which is PyTorch's
  // default (He et al. 2015 with a = √5); a norm begins as the identity.
  void AddLinear(const std::string& name, int64_t in, int64_t out);
  // `outputs`: pixels of the output, height · width.
  void AddConv(const std::string& name, int64_t in, int64_t out, int64_t kernel, int64_t outputs,
               bool bias);
  void AddGroupNorm(const std::string& name, int64_t channels);

  // A linear layer, one with a weight [in, out] and a bias, or a convolution, with the parameters
  // from `first` on; with a bias if `has_bias`.
  at::Tensor Linear(absl::Span<const at::Tensor> params, size_t first, bool has_bias,
                    const at::Tensor& x, LayerHook* hook) const;
  at::Tensor Conv1d(absl::Span<const at::Tensor> params, size_t first, const at::Tensor& x,
                    LayerHook* hook) const;
  at::Tensor Conv(absl::Span<const at::Tensor> params, size_t first, bool has_bias,
                  const at::Tensor& x, int64_t stride, int64_t padding, LayerHook* hook) const;

 private:
  std::vector<ModelParam> params_;
};

// InvalidArgument: a cnn or a resnet for data that are no images {channels, height, width}, a
// language model for data that are no text, or another for text, a context or vocabulary smaller
// than the data's.
absl::StatusOr<std::unique_ptr<TorchModel>> MakeModel(const BuiltinModel& spec,
                                                      const DataShape& shape);

// Of the model's parameters, in their order.
absl::StatusOr<LayoutPtr> LayoutOf(const TorchModel& model);

// InvalidArgument: `found`, or that of `model`, is not the layout; names the first tensor that
// differs.
absl::Status CheckLayout(const ParamLayout& expected, const ParamLayout& found);
absl::Status CheckLayout(const ParamLayout& expected, const ParamVector& model);

// Tensors that are views into the flat `values`: no copy goes in or out. With gradients those that
// are trainable are leaves of autograd; without, all are only read, and buffers are copies.
std::vector<at::Tensor> ParamViews(const ParamLayout& layout, const float* values,
                                   bool with_gradients);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_MODELS_H_
