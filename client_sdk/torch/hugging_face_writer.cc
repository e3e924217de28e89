#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/hugging_face.h"
#include "client_sdk/torch/layout_fit.h"
#include "client_sdk/torch/model_folder.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

using Json = nlohmann::ordered_json;

Json Gpt2Config(const LanguageModelShape& shape, int64_t context) {
  return {{"architectures", {"GPT2LMHeadModel"}},
          {"model_type", "gpt2"},
          {"n_layer", shape.layers},
          {"n_head", shape.heads},
          {"n_embd", shape.width},
          {"n_inner", shape.mlp_width},
          {"n_positions", context},
          {"layer_norm_epsilon", shape.norm_epsilon},
          {"activation_function", "gelu_new"},
          {"attn_pdrop", 0.0},
          {"embd_pdrop", 0.0},
          {"resid_pdrop", 0.0}};
}

Json LlamaConfig(const LanguageModelShape& shape, int64_t context) {
  const bool qwen2 = shape.qkv_bias;
  return {{"architectures", {qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"}},
          {"model_type", qwen2 ? "qwen2" : "llama"},
          {"num_hidden_layers", shape.layers},
          {"num_attention_heads", shape.heads},
          {"num_key_value_heads", shape.kv_heads},
          {"hidden_size", shape.width},
          {"intermediate_size", shape.mlp_width},
          {"max_position_embeddings", context},
          {"rms_norm_eps", shape.norm_epsilon},
          {"rope_theta", shape.rope_base},
          {"hidden_act", "silu"},
          {"attention_dropout", 0.0}};
}

}  // namespace

std::string HuggingFaceConfig(const BuiltinModel& spec) {
  const LanguageModelShape shape = spec.LanguageModel();
  Json config =
      spec.name == "gpt" ? Gpt2Config(shape, *spec.context) : LlamaConfig(shape, *spec.context);
  config["vocab_size"] = *spec.vocabulary;
  config["tie_word_embeddings"] = shape.tied;
  config["torch_dtype"] = "float32";
  // Which tokens these are, the tokenizer's files say; the classes' defaults are those of one
  // vocabulary.
  config["bos_token_id"] = nullptr;
  config["eos_token_id"] = nullptr;
  return config.dump(2) + "\n";
}

absl::string_view HuggingFacePrefix(const BuiltinModel& spec) {
  return spec.name == "gpt" ? "transformer." : "";
}

absl::Status WriteHuggingFaceFolder(const BuiltinModel& spec, const ParamVector& values,
                                    const std::string& folder) {
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, LanguageModelLayout(spec));
  TRIB_RETURN_IF_ERROR(CheckFits(*layout, *values.layout()));
  const auto renamed = [&](const ParamLayout::Tensor& tensor) {
    return absl::StrCat(HuggingFacePrefix(spec), tensor.name);
  };
  std::vector<ParamLayout::Tensor> tensors = layout->tensors();
  for (ParamLayout::Tensor& tensor : tensors) tensor.name = renamed(tensor);
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr written, ParamLayout::Create(std::move(tensors)));
  ParamVector checkpoint(written);
  for (const ParamLayout::Tensor& tensor : layout->tensors()) {
    std::ranges::copy(values.View(tensor.name), checkpoint.View(renamed(tensor)).begin());
  }
  return WriteModelFolder({.tensors_name = "model.safetensors",
                           .config_name = "config.json",
                           .config = HuggingFaceConfig(spec)},
                          checkpoint, folder);
}

}  // namespace tributary
