// What a model's layers are given, shown to whoever asks: for sketches of the inputs of linear
// layers and convolutions (FOT; docs/algorithms/orthogonal_projection.md).
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_LAYER_INPUTS_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_LAYER_INPUTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/torch/layer_hook.h"
#include "client_sdk/torch/torch_include.h"
#include "common/config/schema.h"
#include "common/params/collection.h"
#include "common/params/param_vector.h"
#include "common/rng.h"

namespace tributary {

// The options of a sketch request.
struct SketchOptions {
  struct Layer {
    std::string name;        // of the weight
    int64_t dim = 0;         // of an input as a row; with the 1 where it is augmented
    bool augmented = false;  // by a 1 for the bias
    static void Describe(config::Fields<Layer>& fields);
  };
  std::vector<Layer> layers;
  std::string method = "gram";
  static void Describe(config::Fields<SketchOptions>& fields);
};

// Sums over all inputs that it is shown. Thread-compatible.
class InputSketch final : public LayerHook {
 public:
  // InvalidArgument: options that do not parse or do not fit the request's layout.
  static absl::StatusOr<InputSketch> Create(const CollectRequest& request, Rng rng);

  void Linear(const std::string& weight, const at::Tensor& x, const at::Tensor& y) override;
  void Conv(const std::string& weight, const at::Tensor& x, int64_t kernel, int64_t stride,
            int64_t padding, const at::Tensor& y) override;

  // Into `sketch`, of the request's layout. InvalidArgument: a layer that the model has not shown,
  // or whose inputs have another size.
  absl::Status Write(ParamVector& sketch) const;

 private:
  struct Sum {
    SketchOptions::Layer layer;
    at::Tensor sum;  // A·Aᵀ [d, d] or A·G [d, s], double; undefined before the first inputs
    double energy = 0;
    int64_t columns = 0;  // s; 0: the Gram matrix is asked for
    int64_t found = -1;   // the size of the inputs, once known
    Rng rng{0};
  };
  void Add(const std::string& weight, at::Tensor rows);

  std::map<std::string, Sum> sums_;  // by weight
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_LAYER_INPUTS_H_
