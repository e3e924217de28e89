// What a client trains and how: the `model:` and `train:` sections of a job file, which
// both ends read. The coordinator validates them and passes them on; a Trainer acts on them.
#ifndef TRIBUTARY_COMMON_TRAIN_SPEC_TRAIN_SPEC_H_
#define TRIBUTARY_COMMON_TRAIN_SPEC_TRAIN_SPEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/config/schema.h"

namespace tributary {

// model.builtin: {name: mlp, hidden: [200]}. Input shape and number of classes are the
// data's, and are told by the client that makes the first model.
struct BuiltinModel {
  std::string name;                            // logistic | mlp | cnn | resnet
  std::optional<std::vector<int64_t>> hidden;  // mlp: widths of the hidden layers

  std::vector<int64_t> HiddenWidths() const;  // hidden, or its default {200}

  static void Describe(config::Fields<BuiltinModel>& fields);
  absl::Status Validate() const;  // `hidden` only with mlp
};

struct ModelSpec {
  std::optional<BuiltinModel> builtin;
  std::optional<std::string> custom;   // the app's own: a name that its Trainer knows
  std::optional<std::string> initial;  // path of a .safetensors with the first model

  static void Describe(config::Fields<ModelSpec>& fields);
  absl::Status Validate() const;  // exactly one of builtin, custom
};

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
