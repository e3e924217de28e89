// Language models as Hugging Face keeps them: a folder with config.json and model.safetensors, or
// with model.safetensors.index.json and the files that it names.
//
//   TRIB_ASSIGN_OR_RETURN(PretrainedModel model, ReadHuggingFaceFolder("TinyLlama-1.1B"));
//   TRIB_ASSIGN_OR_RETURN(auto predictor, TokenPredictor::Create(model.spec,
//   std::move(model.values)));
//
// Reading is in hugging_face.cc, writing in hugging_face_writer.cc.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_HUGGING_FACE_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_HUGGING_FACE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/params/param_vector.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

// The model that a config.json describes, with context and vocabulary: of model_type `gpt2`,
// `llama` or `qwen2`. InvalidArgument: no such JSON, a value out of range; Unimplemented: another
// model_type or an option that the built-in models do not have (scaled rotary positions, another
// activation, sliding windows, biases where there are none), naming it.
absl::StatusOr<BuiltinModel> ParseHuggingFaceConfig(absl::string_view json);

struct PretrainedModel {
  BuiltinModel spec;
  ParamVector values;
};

// Tensors of F32, BF16 and F16 go one by one into the values: nothing is in memory twice. Names may
// begin with `transformer.`, as gpt2's language models have them; tensors that the model has not,
// such as the output layer of one with tied embeddings, are not looked at. Errors of
// ParseHuggingFaceConfig and of SafetensorsFile; NotFound: no such file; InvalidArgument: a tensor
// that is missing or has another shape, a file named outside of the folder.
absl::StatusOr<PretrainedModel> ReadHuggingFaceFolder(const std::string& folder);

// The tensors of a language model. InvalidArgument: another model, or one without `context` or
// `vocabulary`.
absl::StatusOr<LayoutPtr> LanguageModelLayout(const BuiltinModel& spec);

// The config.json of the spec: ParseHuggingFaceConfig gives it back, with what it left to defaults.
// A gpt is a GPT2LMHeadModel, a llama a LlamaForCausalLM, or a Qwen2ForCausalLM where queries, keys
// and values have biases. There is no dropout, and no token that begins or ends a text is named.
std::string HuggingFaceConfig(const BuiltinModel& spec);

// What stands before the names of the model's tensors in a checkpoint of that class.
absl::string_view HuggingFacePrefix(const BuiltinModel& spec);

// config.json and model.safetensors, of float32, for AutoModelForCausalLM.from_pretrained(folder).
// The output layer of a model with tied embeddings is left out, as transformers leaves it out.
// InvalidArgument as LanguageModelLayout, and values that do not fit it, naming the tensor; errors
// of WriteModelFolder.
absl::Status WriteHuggingFaceFolder(const BuiltinModel& spec, const ParamVector& values,
                                    const std::string& folder);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_HUGGING_FACE_H_
