// Adapters for other tools: what a job's model holds of them, what the difference of two models
// makes of them, and the folder that PEFT opens.
//
//   TRIB_ASSIGN_OR_RETURN(const HeldAdapters held, AdaptersOf(model, /*transposed=*/true));
//   TRIB_RETURN_IF_ERROR(WritePeftFolder(held.adapters, {.base_name = "gpt2"}, "adapter"));
//
// No LibTorch header is needed to include this one.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_PEFT_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_PEFT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/lora/lora_plan.h"
#include "common/params/param_vector.h"

namespace tributary {

// Of one module, of scale 1: the layer works with W + B·A.
struct ModuleAdapter {
  LoraModule module;
  std::vector<int64_t> weight_shape;
  LowRank factors;
};

struct HeldAdapters {
  ParamVector merged;                   // the ordinary model, with W + B·A in the place of W
  std::vector<ModuleAdapter> adapters;  // of one rank; empty: the model held none
};

// Takes apart what a version of a job with adapters holds (common/lora/lora_plan.h): beside a
// module's weight "<module>.lora_A.weight" [R, n] and "<module>.lora_B.weight" [m, R].
// `transposed`: weights of two dimensions are [n, m]. InvalidArgument: a factor without the other
// or without its weight, shapes that do not fit, ranks that differ, naming the tensor.
absl::StatusOr<HeldAdapters> AdaptersOf(const ParamVector& model, bool transposed);

struct FactorOptions {
  int64_t rank = 0;
  std::vector<std::string> targets;  // patterns of modules' names; empty: all that differ
  bool transposed = false;
};

struct FactoredDifference {
  std::vector<ModuleAdapter> adapters;  // of the modules that differ
  std::vector<double> kept;             // of each, the share of ‖D‖²_F that its factors hold
  double kept_of_all = 0;               // of all trainable values, those left out among them
  std::vector<std::string> left_out;    // tensors that differ and get no adapter
};

// The factors of rank r that come nearest to D = W − W_base, module by module (Eckart & Young
// 1936), in double: D = U·diag(σ)·Vᵀ, B = U_r·√σ_r, A = √σ_r·V_rᵀ, of ‖D‖² = Σ σ² keeping
// Σ_{i≤r} σ_i². Embeddings ("wte", "wpe", "embed_tokens"), biases, norms and buffers get none. Both
// models are ordinary ones. InvalidArgument: models of other tensors; a rank outside [1, the
// smaller side of a weight]; no module that differs.
absl::StatusOr<FactoredDifference> FactorDifference(const ParamVector& model,
                                                    const ParamVector& base,
                                                    const FactorOptions& options);

struct PeftTerms {
  std::string prefix;           // of modules' paths in the model: "transformer." in gpt2's
  bool language_model = false;  // task_type CAUSAL_LM; otherwise null
  bool fan_in_fan_out = false;  // weights of two dimensions are [n, m]
  std::string base_name;        // base_model_name_or_path
};

// adapter_config.json and adapter_model.safetensors, for PeftModel.from_pretrained(base, folder):
// peft_type LORA with r = lora_alpha, scale 1. Keys are
// "base_model.model.<prefix><module>.lora_A.weight" [r, n] and "…lora_B.weight" [m, r]; of a
// convolution with the kernel [c, h, w] they are [r, c, h, w] and [m, r, 1, 1]. Target modules are
// whole paths. `adapters`: at least one, of one rank. Errors of WriteModelFolder.
absl::Status WritePeftFolder(absl::Span<const ModuleAdapter> adapters, const PeftTerms& terms,
                             const std::string& folder);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_PEFT_H_
