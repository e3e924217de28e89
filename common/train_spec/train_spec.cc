#include "common/train_spec/train_spec.h"

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/digest.h"
#include "common/status_macros.h"

namespace tributary {

namespace {

struct KeyUse {
  const char* key;
  bool present;
  std::vector<absl::string_view> models;  // that take the key
};

std::vector<KeyUse> KeyUses(const BuiltinModel& spec) {
  return {
      {"hidden", spec.hidden.has_value(), {"mlp"}},
      {"layers", spec.layers.has_value(), {"gpt", "llama"}},
      {"heads", spec.heads.has_value(), {"gpt", "llama"}},
      {"width", spec.width.has_value(), {"gpt", "llama"}},
      {"mlp_width", spec.mlp_width.has_value(), {"gpt", "llama"}},
      {"context", spec.context.has_value(), {"gpt", "llama"}},
      {"vocabulary", spec.vocabulary.has_value(), {"gpt", "llama"}},
      {"norm_epsilon", spec.norm_epsilon.has_value(), {"gpt", "llama"}},
      {"kv_heads", spec.kv_heads.has_value(), {"llama"}},
      {"tied", spec.tied.has_value(), {"llama"}},
      {"qkv_bias", spec.qkv_bias.has_value(), {"llama"}},
      {"rope_base", spec.rope_base.has_value(), {"llama"}},
  };
}

absl::Status Divides(absl::string_view divisor, int64_t by, absl::string_view name, int64_t value) {
  if (value % by == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, ", ", divisor, " is ", by,
                                                 "; allowed: a multiple of ", divisor));
}

}  // namespace

void BuiltinModel::Describe(config::Fields<BuiltinModel>& fields) {
  fields.Add("name", &BuiltinModel::name, "the model's family")
      .Required()
      .OneOf({"logistic", "mlp", "cnn", "resnet", "gpt", "llama"});
  fields
      .Add("hidden", &BuiltinModel::hidden, "mlp only: widths of the hidden layers; absent: [200]")
      .Min(1)
      .MinItems(1);
  using B = BuiltinModel;
  fields.Add("layers", &B::layers, "gpt, llama: transformer blocks; absent: 4").Min(1).Max(1000);
  fields.Add("heads", &B::heads, "gpt, llama: attention heads; absent: 4").Min(1).Max(10000);
  fields.Add("width", &B::width, "gpt, llama: width of the embeddings; absent: 128")
      .Min(1)
      .Max(1000000);
  fields
      .Add("mlp_width", &B::mlp_width,
           "gpt, llama: hidden units of a block; absent: gpt 4 x width, llama 8/3 x width rounded "
           "up to a multiple of 32")
      .Min(1)
      .Max(1000000);
  fields.Add("context", &B::context, "gpt, llama: longest text in tokens; absent: the data's")
      .Min(1)
      .Max(10000000);
  fields.Add("vocabulary", &B::vocabulary, "gpt, llama: number of tokens; absent: the data's")
      .Min(1)
      .Max(10000000);
  fields.Add("norm_epsilon", &B::norm_epsilon, "gpt, llama: added to a variance; absent: 1e-5")
      .GreaterThan(0);
  fields
      .Add("kv_heads", &B::kv_heads,
           "llama: heads of keys and values, shared by groups of heads; absent: as many as heads")
      .Min(1)
      .Max(10000);
  fields.Add("tied", &B::tied,
             "llama: the embeddings are the output layer's weights too; absent: no");
  fields.Add("qkv_bias", &B::qkv_bias, "llama: queries, keys and values have biases; absent: no");
  fields.Add("rope_base", &B::rope_base, "llama: base of the rotary positions; absent: 10000")
      .GreaterThan(0);
}

absl::Status BuiltinModel::Validate() const {
  for (const KeyUse& use : KeyUses(*this)) {
    if (!use.present || absl::c_linear_search(use.models, name)) continue;
    return absl::InvalidArgumentError(absl::StrCat(use.key, " is an option of ",
                                                   absl::StrJoin(use.models, " and "),
                                                   ", found it with ", name));
  }
  if (!is_language_model()) return absl::OkStatus();
  const LanguageModelShape shape = LanguageModel();
  TRIB_RETURN_IF_ERROR(Divides("heads", shape.heads, "width", shape.width));
  TRIB_RETURN_IF_ERROR(Divides("kv_heads", shape.kv_heads, "heads", shape.heads));
  if (name == "llama" && shape.width / shape.heads % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("width / heads is ", shape.width / shape.heads,
                     "; allowed: an even number, as rotary positions turn pairs"));
  }
  return absl::OkStatus();
}

LanguageModelShape BuiltinModel::LanguageModel() const {
  LanguageModelShape shape;
  shape.layers = layers.value_or(shape.layers);
  shape.heads = heads.value_or(shape.heads);
  shape.kv_heads = kv_heads.value_or(shape.heads);
  shape.width = width.value_or(shape.width);
  const bool gpt = name == "gpt";
  constexpr int64_t kMultiple = 32;
  const int64_t gated = (8 * shape.width + 3 * kMultiple - 1) / (3 * kMultiple) * kMultiple;
  shape.mlp_width = mlp_width.value_or(gpt ? 4 * shape.width : gated);
  shape.tied = gpt || tied.value_or(false);
  shape.qkv_bias = gpt || qkv_bias.value_or(false);
  shape.rope_base = rope_base.value_or(shape.rope_base);
  shape.norm_epsilon = norm_epsilon.value_or(shape.norm_epsilon);
  return shape;
}

std::vector<int64_t> BuiltinModel::HiddenWidths() const {
  return hidden.value_or(std::vector<int64_t>{200});
}

void ProgramSpec::Describe(config::Fields<ProgramSpec>& fields) {
  fields.Add("sha256", &ProgramSpec::sha256, "of the file, 64 hexadecimal digits").Required();
  fields.Add("bytes", &ProgramSpec::bytes, "the file's size").Required().Min(1);
}

absl::Status ProgramSpec::Validate() const {
  return WithContext(Digest::FromHex(sha256).status(), "sha256");
}

void ModelSpec::Describe(config::Fields<ModelSpec>& fields) {
  fields.Add("builtin", &ModelSpec::builtin, "a model that every tributary-client knows");
  fields.Add("torchscript", &ModelSpec::torchscript,
             "instead: a TorchScript file whose forward(inputs) gives logits, relative to the job "
             "file; it travels with the job, and clients whose operators allow it run it");
  fields.Add("program", &ModelSpec::program,
             "what a submitted job holds in torchscript's place; not for job files");
  fields.Add("custom", &ModelSpec::custom, "instead: a name that the application's Trainer knows");
  fields.Add("initial", &ModelSpec::initial,
             "a .safetensors file with the first model, relative to the job file; absent: one "
             "client makes it from the seed, or takes it from the TorchScript file");
}

absl::Status ModelSpec::Validate() const {
  std::vector<absl::string_view> found;
  if (builtin) found.push_back("builtin");
  if (torchscript) found.push_back("torchscript");
  if (program) found.push_back("program");
  if (custom) found.push_back("custom");
  if (found.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("must be exactly one of builtin, torchscript, custom; found ",
                     found.empty() ? "none" : absl::StrJoin(found, " and ")));
  }
  if (torchscript && torchscript->empty()) {
    return absl::InvalidArgumentError(
        "torchscript is empty; allowed: the path of a TorchScript file");
  }
  if (custom && custom->empty()) {
    return absl::InvalidArgumentError("custom is empty; allowed: a model's name");
  }
  if (initial && initial->empty()) {
    return absl::InvalidArgumentError("initial is empty; allowed: the path of a .safetensors file");
  }
  return absl::OkStatus();
}

ProgramSpec ProgramSpecOf(absl::string_view bytes) {
  return {.sha256 = Sha256::Of(bytes).ToHex(), .bytes = static_cast<int64_t>(bytes.size())};
}

absl::Status CheckProgram(const ProgramSpec& spec, absl::string_view bytes) {
  const ProgramSpec found = ProgramSpecOf(bytes);
  if (found.sha256 == spec.sha256 && found.bytes == spec.bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the program has ", found.bytes, " bytes and the SHA-256 ", found.sha256,
                   "; model.program says ", spec.bytes, " and ", spec.sha256));
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
