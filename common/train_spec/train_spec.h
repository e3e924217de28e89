// What a client trains and how: the `model:` and `train:` sections of a job file, which
// both ends read. The coordinator validates them and passes them on; a Trainer acts on them.
#ifndef TRIBUTARY_COMMON_TRAIN_SPEC_TRAIN_SPEC_H_
#define TRIBUTARY_COMMON_TRAIN_SPEC_TRAIN_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/config/schema.h"

namespace tributary {

// What gpt and llama are made of.
struct LanguageModelShape {
  int64_t layers = 4;
  int64_t heads = 4;
  int64_t kv_heads = 4;   // heads of keys and values; each serves heads / kv_heads of queries
  int64_t width = 128;    // of the stream that the layers add to
  int64_t mlp_width = 0;  // hidden units of a layer's multilayer perceptron
  bool tied = false;      // the embeddings are the output layer's weights too
  bool qkv_bias = false;  // queries, keys and values have biases
  double rope_base = 10000;
  double norm_epsilon = 1e-5;
};

// model.builtin: {name: mlp, hidden: [200]}. Input shape and number of classes are the
// data's, and are told by the client that makes the first model.
//
// One flat set of keys; which of them a model takes, Validate says.
struct BuiltinModel {
  std::string name;                            // logistic | mlp | cnn | resnet | gpt | llama
  std::optional<std::vector<int64_t>> hidden;  // mlp: widths of the hidden layers

  // gpt, llama:
  std::optional<int64_t> layers;
  std::optional<int64_t> heads;
  std::optional<int64_t> width;
  std::optional<int64_t> mlp_width;
  std::optional<int64_t> context;     // the longest text in tokens; absent: the data's
  std::optional<int64_t> vocabulary;  // absent: the data's
  std::optional<double> norm_epsilon;
  // llama:
  std::optional<int64_t> kv_heads;
  std::optional<bool> tied;
  std::optional<bool> qkv_bias;
  std::optional<double> rope_base;

  std::vector<int64_t> HiddenWidths() const;  // hidden, or its default {200}

  bool is_language_model() const { return name == "gpt" || name == "llama"; }
  // Of gpt or llama, with its defaults.
  LanguageModelShape LanguageModel() const;

  static void Describe(config::Fields<BuiltinModel>& fields);
  // A key that the model does not take, widths that heads do not divide.
  absl::Status Validate() const;
};

// A TorchScript program by what is in its file, which travels beside the job.
struct ProgramSpec {
  std::string sha256;  // 64 lower-case hexadecimal digits
  int64_t bytes = 0;

  static void Describe(config::Fields<ProgramSpec>& fields);
  absl::Status Validate() const;
};

struct ModelSpec {
  std::optional<BuiltinModel> builtin;
  std::optional<std::string> torchscript;  // path of a program; once it is read, instead of it:
  std::optional<ProgramSpec> program;      // what is stored, and what clients are told
  std::optional<std::string> custom;       // the app's own: a name that its Trainer knows
  std::optional<std::string> initial;      // path of a .safetensors with the first model

  bool is_program() const { return torchscript || program; }

  static void Describe(config::Fields<ModelSpec>& fields);
  absl::Status Validate() const;  // exactly one of builtin, torchscript (or program), custom

  // Whether weight matrices are stored [inputs, outputs], as far as the section says.
  bool transposed_weights() const { return builtin && builtin->name == "gpt"; }
};

// `bytes` are those of a program of this size and digest. InvalidArgument: what differs.
absl::Status CheckProgram(const ProgramSpec& spec, absl::string_view bytes);
ProgramSpec ProgramSpecOf(absl::string_view bytes);

// Options of the client's optimizers; the server's are in aggregators/optimize.
struct LocalSgdOptions {
  double learning_rate = 0.05;
  double momentum = 0.0;
  double weight_decay = 0.0;
  static void Describe(config::Fields<LocalSgdOptions>& fields);
};
struct LocalAdamOptions {
  double learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;
  static void Describe(config::Fields<LocalAdamOptions>& fields);
};

// A learning rate that follows the product of successive steps, and of each with the global
// update (FedHyper-CL): see client_sdk/torch/local_hypergradient.h.
struct LocalHypergradientOptions {
  std::string rule = "displacement";
  double bound = 10.0;                  // the rate stays within this factor of its first
  std::optional<double> gain;           // absent: 1; cosine 0.02
  std::optional<double> global_weight;  // absent: one over the steps of the order; cosine 1

  static void Describe(config::Fields<LocalHypergradientOptions>& fields);
};

struct TrainSpec {
  config::Choice optimizer;  // sgd | adam | adamw, with all its options
  int64_t batch_size = 32;
  std::optional<int64_t> local_steps;   // per work order; or
  std::optional<int64_t> local_epochs;  // passes over the client's own examples; 1 if neither
  double proximal = 0.0;                // FedProx's mu
  std::optional<LocalHypergradientOptions> hypergradient;

  static void Describe(config::Fields<TrainSpec>& fields);
  absl::Status Validate() const;  // not both of local_steps and local_epochs
  TrainSpec();                    // the defaults, complete
};

// How a client trains to show how far each parameter moves (AutoFLIP): the options of an
// exploration, for its trainer.
struct ExploreSpec {
  int64_t epochs = 5;                   // passes over the client's examples at most
  int64_t patience = 2;                 // passes without a lower mean loss, after which it ends
  std::optional<double> learning_rate;  // absent: as in training

  static void Describe(config::Fields<ExploreSpec>& fields);
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_TRAIN_SPEC_TRAIN_SPEC_H_
