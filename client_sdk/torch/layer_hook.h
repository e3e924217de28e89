// LayerHook: is shown what a model's linear layers and convolutions take and give, and may add to
// what they give.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_LAYER_HOOK_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_LAYER_HOOK_H_

#include <cstdint>
#include <string>

#include "client_sdk/torch/torch_include.h"

namespace tributary {

// Called by TorchModel::Forward after each layer, with the name of its weight, its inputs x and its
// outputs y, which nothing else has used yet: what is added in place goes on to the next layer.
// From TorchModel::ShowInputs y may be undefined.
class LayerHook {
 public:
  virtual ~LayerHook() = default;
  // x [n, in], y [n, out].
  virtual void Linear(const std::string& weight, const at::Tensor& x, const at::Tensor& y) = 0;
  // x [n, channels, height, width], y [n, out, height', width'], for a square kernel.
  virtual void Conv(const std::string& weight, const at::Tensor& x, int64_t kernel, int64_t stride,
                    int64_t padding, const at::Tensor& y) = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_LAYER_HOOK_H_
