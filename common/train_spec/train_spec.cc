#include "common/train_spec/train_spec.h"

#include "absl/strings/str_cat.h"

namespace tributary {

void BuiltinModel::Describe(config::Fields<BuiltinModel>& fields) {
  fields.Add("name", &BuiltinModel::name, "the model's family")
      .Required()
      .OneOf({"logistic", "mlp", "cnn", "resnet"});
  fields
      .Add("hidden", &BuiltinModel::hidden, "mlp only: widths of the hidden layers; absent: [200]")
      .Min(1)
      .MinItems(1);
}

absl::Status BuiltinModel::Validate() const {
  if (hidden && name != "mlp") {
    return absl::InvalidArgumentError(
        absl::StrCat("hidden is an option of mlp, found it with ", name));
  }
  return absl::OkStatus();
}

std::vector<int64_t> BuiltinModel::HiddenWidths() const {
  return hidden.value_or(std::vector<int64_t>{200});
}

void ModelSpec::Describe(config::Fields<ModelSpec>& fields) {
  fields.Add("builtin", &ModelSpec::builtin, "a model that every tributary-client knows");
  fields.Add("custom", &ModelSpec::custom, "instead: a name that the application's Trainer knows");
  fields.Add("initial", &ModelSpec::initial,
             "a .safetensors file with the first model, relative to the job file; absent: one "
             "client makes it from the seed");
}

absl::Status ModelSpec::Validate() const {
  if (builtin.has_value() == custom.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat("must be exactly one of builtin, custom; found ",
                                                   builtin ? "both" : "neither"));
  }
  if (custom && custom->empty()) {
    return absl::InvalidArgumentError("custom is empty; allowed: a model's name");
  }
  if (initial && initial->empty()) {
    return absl::InvalidArgumentError("initial is empty; allowed: the path of a .safetensors file");
  }
  return absl::OkStatus();
}

void LocalSgdOptions::Describe(config::Fields<LocalSgdOptions>& fields) {
  fields.Add("learning_rate", &LocalSgdOptions::learning_rate, "step size").GreaterThan(0);
  fields
      .Add("momentum", &LocalSgdOptions::momentum,
           "heavy-ball momentum, begun anew in each work order")
      .Min(0)
      .LessThan(1);
  fields.Add("weight_decay", &LocalSgdOptions::weight_decay, "L2 penalty, added to the gradient")
      .Min(0);
}

void LocalAdamOptions::Describe(config::Fields<LocalAdamOptions>& fields) {
  fields.Add("learning_rate", &LocalAdamOptions::learning_rate, "step size").GreaterThan(0);
  fields.Add("beta1", &LocalAdamOptions::beta1, "decay of the mean of the gradient")
      .Min(0)
      .LessThan(1);
  fields.Add("beta2", &LocalAdamOptions::beta2, "decay of the mean of its square")
      .Min(0)
      .LessThan(1);
  fields.Add("epsilon", &LocalAdamOptions::epsilon, "added to the root of the second moment")
      .GreaterThan(0);
  fields
      .Add("weight_decay", &LocalAdamOptions::weight_decay,
           "adam: added to the gradient; adamw: applied to the weights")
      .Min(0);
}

void LocalHypergradientOptions::Describe(config::Fields<LocalHypergradientOptions>& fields) {
  fields
      .Add("rule", &LocalHypergradientOptions::rule,
           "the factor on the rate from a step's displacement, the rate itself from its gradient "
           "(the paper's), or the factor from angles alone")
      .OneOf({"displacement", "gradient", "cosine"});
  fields
      .Add("bound", &LocalHypergradientOptions::bound,
           "the rate stays between its first divided by and times this")
      .Min(1);
  fields
      .Add("gain", &LocalHypergradientOptions::gain,
           "factor on the products; absent: 1, with cosine 0.02")
      .GreaterThan(0);
  fields
      .Add("global_weight", &LocalHypergradientOptions::global_weight,
           "of the product with the global update; absent: one over the order's steps, with "
           "cosine 1")
      .Min(0);
}

void TrainSpec::Describe(config::Fields<TrainSpec>& fields) {
  fields.Add("optimizer", &TrainSpec::optimizer, "the client's optimizer")
      .Alternatives({
          {"sgd", "stochastic gradient descent", &config::SchemaOf<LocalSgdOptions>()},
          {"adam", "Adam (Kingma & Ba 2015)", &config::SchemaOf<LocalAdamOptions>()},
          {"adamw", "Adam with decoupled weight decay (Loshchilov & Hutter 2019)",
           &config::SchemaOf<LocalAdamOptions>()},
      });
  fields.Add("batch_size", &TrainSpec::batch_size, "examples a step").Min(1);
  fields
      .Add("local_steps", &TrainSpec::local_steps,
           "optimizer steps a work order; the scheduler may override it")
      .Min(1);
  fields
      .Add("local_epochs", &TrainSpec::local_epochs,
           "instead: passes over the client's own examples; 1 if neither is given")
      .Min(1);
  fields
      .Add("proximal", &TrainSpec::proximal,
           "mu of FedProx's penalty mu/2 |w - w_global|^2; 0: none")
      .Min(0);
  fields.Add("hypergradient", &TrainSpec::hypergradient,
             "the client adapts its learning rate from step to step (FedHyper-CL); absent: no");
}

absl::Status TrainSpec::Validate() const {
  if (local_steps && local_epochs) {
    return absl::InvalidArgumentError(
        "at most one of local_steps and local_epochs is allowed, found both");
  }
  return absl::OkStatus();
}

void ExploreSpec::Describe(config::Fields<ExploreSpec>& fields) {
  using O = ExploreSpec;
  fields.Add("epochs", &O::epochs, "passes over a client's data, at most").Min(1);
  fields.Add("patience", &O::patience, "epochs without a lower loss after which it ends").Min(1);
  fields.Add("learning_rate", &O::learning_rate, "instead of the training's").GreaterThan(0);
}

TrainSpec::TrainSpec() {
  optimizer.name = "sgd";
  optimizer.options = config::Print(LocalSgdOptions());
}

}  // namespace tributary
