#include "client_sdk/torch/hugging_face.h"

#include <filesystem>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client_sdk/data/file_bytes.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/torch/torch_calls.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int64_t kMaxJsonBytes = int64_t{1} << 28;

// Reads a config's fields; keeps the first error. A field that is null is absent.
class ConfigReader {
 public:
  explicit ConfigReader(const Json& config) : config_(config) {}

  // 0 after an error.
  int64_t Integer(const char* name) {
    const Json* const value = Find(name);
    if (value != nullptr && value->is_number_integer()) return value->get<int64_t>();
    Fail(absl::InvalidArgumentError(absl::StrCat(
        "'", name, "' ", value == nullptr ? "is missing" : "is no integer: " + value->dump())));
    return 0;
  }
  int64_t Integer(const char* name, int64_t absent) {
    return Find(name) == nullptr ? absent : Integer(name);
  }
  double Number(const char* name, double absent) {
    const Json* const value = Find(name);
    if (value == nullptr) return absent;
    if (value->is_number()) return value->get<double>();
    Fail(absl::InvalidArgumentError(absl::StrCat("'", name, "' is no number: ", value->dump())));
    return absent;
  }
  bool Flag(const char* name, bool absent) {
    const Json* const value = Find(name);
    if (value == nullptr) return absent;
    if (value->is_boolean()) return value->get<bool>();
    Fail(absl::InvalidArgumentError(
        absl::StrCat("'", name, "' is neither true nor false: ", value->dump())));
    return absent;
  }
  // An option that the built-in models have in these values alone, or absent.
  void Only(const char* name, const std::vector<Json>& allowed) {
    const Json* const value = Find(name);
    if (value == nullptr) return;
    std::vector<std::string> texts;
    for (const Json& one : allowed) {
      if (*value == one) return;
      texts.push_back(one.dump());
    }
    texts.push_back("none");
    Fail(absl::UnimplementedError(absl::StrCat("'", name, "' is ", value->dump(),
                                               "; supported: ", absl::StrJoin(texts, ", "))));
  }

  const absl::Status& status() const { return status_; }

 private:
  const Json* Find(const char* name) const {
    const auto found = config_.find(name);
    return found == config_.end() || found->is_null() ? nullptr : &*found;
  }
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }

  const Json& config_;
  absl::Status status_;
};

void ReadGpt2(ConfigReader& config, BuiltinModel& spec) {
  spec.name = "gpt";
  spec.layers = config.Integer("n_layer");
  spec.heads = config.Integer("n_head");
  spec.width = config.Integer("n_embd");
  spec.mlp_width = config.Integer("n_inner", 4 * *spec.width);
  spec.context = config.Integer("n_positions");
  spec.norm_epsilon = config.Number("layer_norm_epsilon", 1e-5);
  config.Only("activation_function", {"gelu_new", "gelu_pytorch_tanh"});
  config.Only("scale_attn_weights", {true});
  config.Only("scale_attn_by_inverse_layer_idx", {false});
  config.Only("add_cross_attention", {false});
  config.Only("tie_word_embeddings", {true});
}

void ReadLlama(ConfigReader& config, bool qwen2, BuiltinModel& spec) {
  spec.name = "llama";
  spec.layers = config.Integer("num_hidden_layers");
  spec.heads = config.Integer("num_attention_heads");
  spec.kv_heads = config.Integer("num_key_value_heads", *spec.heads);
  spec.width = config.Integer("hidden_size");
  spec.mlp_width = config.Integer("intermediate_size");
  spec.context = config.Integer("max_position_embeddings");
  spec.norm_epsilon = config.Number("rms_norm_eps", 1e-6);
  spec.rope_base = config.Number("rope_theta", 10000);
  spec.tied = config.Flag("tie_word_embeddings", false);
  spec.qkv_bias = qwen2;
  config.Only("hidden_act", {"silu"});
  config.Only("rope_scaling", {});
  config.Only("rope_parameters", {});
  config.Only("attention_bias", {false});
  config.Only("mlp_bias", {false});
  config.Only("use_sliding_window", {false});
  if (*spec.heads > 0) config.Only("head_dim", {*spec.width / *spec.heads});
}

absl::StatusOr<Json> ReadJsonObject(const fs::path& path) {
  TRIB_ASSIGN_OR_RETURN(const std::string text, ReadFileBytes(path.string(), kMaxJsonBytes));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object()) return json;
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": not a JSON object"));
}

// The folder's tensors, whichever files they are in.
class Shards {
 public:
  static absl::StatusOr<Shards> Open(const fs::path& folder) {
    Shards shards;
    const fs::path whole = folder / "model.safetensors";
    const fs::path index = folder / "model.safetensors.index.json";
    if (std::error_code error; fs::exists(whole, error) || !fs::exists(index, error)) {
      TRIB_RETURN_IF_ERROR(shards.Add(whole));
      return shards;
    }
    TRIB_ASSIGN_OR_RETURN(const Json json, ReadJsonObject(index));
    const auto map = json.find("weight_map");
    if (map == json.end() || !map->is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(index.string(), ": has no 'weight_map'"));
    }
    std::set<std::string> opened;
    for (const auto& [tensor, file] : map->items()) {
      const std::string name = file.is_string() ? file.get<std::string>() : "";
      if (name.empty() || fs::path(name).filename() != name) {
        return absl::InvalidArgumentError(
            absl::StrCat(index.string(), ": tensor '", tensor, "' is in ", file.dump(),
                         "; allowed: the name of a file in the folder"));
      }
      if (opened.insert(name).second) TRIB_RETURN_IF_ERROR(shards.Add(folder / name));
    }
    return shards;
  }

  // Into `to`, of `tensor`'s layout.
  absl::Status Read(const ParamLayout::Tensor& tensor, absl::Span<float> to) const {
    TRIB_ASSIGN_OR_RETURN(const Place place, Find(tensor));
    return place.file->Read(place.name, to);
  }
  absl::Status Check(const ParamLayout::Tensor& tensor) const { return Find(tensor).status(); }

 private:
  struct Place {
    const SafetensorsFile* file;
    std::string name;
  };

  absl::Status Add(const fs::path& path) {
    TRIB_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(path.string()));
    files_.push_back(std::move(file));
    return absl::OkStatus();
  }

  absl::StatusOr<Place> Find(const ParamLayout::Tensor& tensor) const {
    for (const auto& file : files_) {
      for (const std::string& name : {tensor.name, absl::StrCat("transformer.", tensor.name)}) {
        const std::vector<int64_t>* const shape = file->ShapeOf(name);
        if (shape == nullptr) continue;
        if (*shape == tensor.shape) return Place{file.get(), name};
        return absl::InvalidArgumentError(
            absl::StrCat("tensor '", name, "' has the shape (", absl::StrJoin(*shape, ", "),
                         "); config.json makes it (", absl::StrJoin(tensor.shape, ", "), ")"));
      }
    }
    return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "' is missing"));
  }

  std::vector<std::unique_ptr<SafetensorsFile>> files_;
};

absl::StatusOr<ParamVector> ReadValues(const BuiltinModel& spec, const Shards& shards) {
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, LanguageModelLayout(spec));
  // All of them before there is memory for any.
  for (const auto& tensor : layout->tensors()) TRIB_RETURN_IF_ERROR(shards.Check(tensor));
  ParamVector values(layout);
  for (const auto& tensor : layout->tensors()) {
    TRIB_RETURN_IF_ERROR(shards.Read(tensor, values.View(tensor.name)));
  }
  return values;
}

}  // namespace

absl::StatusOr<BuiltinModel> ParseHuggingFaceConfig(absl::string_view json) {
  const Json config = Json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return absl::InvalidArgumentError("not a JSON object");
  const auto found = config.find("model_type");
  const std::string type =
      found != config.end() && found->is_string() ? found->get<std::string>() : "";
  ConfigReader reader(config);
  BuiltinModel spec;
  if (type == "gpt2") {
    ReadGpt2(reader, spec);
  } else if (type == "llama" || type == "qwen2") {
    ReadLlama(reader, type == "qwen2", spec);
  } else {
    return absl::UnimplementedError(
        absl::StrCat("'model_type' is '", type, "'; supported: gpt2, llama, qwen2"));
  }
  spec.vocabulary = reader.Integer("vocab_size");
  TRIB_RETURN_IF_ERROR(reader.status());
  // What a job file would be checked for.
  return config::Parse<BuiltinModel>(config::NodeFromJson(config::Print(spec)), "config");
}

absl::StatusOr<LayoutPtr> LanguageModelLayout(const BuiltinModel& spec) {
  if (!spec.is_language_model() || !spec.context || !spec.vocabulary) {
    return absl::InvalidArgumentError(
        absl::StrCat("model ", spec.name, " ",
                     !spec.is_language_model() ? "is no language model; allowed: gpt, llama"
                     : !spec.context           ? "has no 'context'; it must be said"
                                               : "has no 'vocabulary'; it must be said"));
  }
  const DataShape shape{{1}, *spec.vocabulary, /*tokens=*/true};
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<TorchModel> model, MakeModel(spec, shape));
  return LayoutOf(*model);
}

absl::StatusOr<PretrainedModel> ReadHuggingFaceFolder(const std::string& folder) {
  const fs::path config = fs::path(folder) / "config.json";
  TRIB_ASSIGN_OR_RETURN(const std::string json, ReadFileBytes(config.string(), kMaxJsonBytes));
  absl::StatusOr<BuiltinModel> spec = ParseHuggingFaceConfig(json);
  if (!spec.ok()) return WithContext(spec.status(), config.string());
  TRIB_ASSIGN_OR_RETURN(const Shards shards, Shards::Open(folder));
  auto values = Guarded([&] { return ReadValues(*spec, shards); });
  if (!values.ok()) return WithContext(values.status(), folder);
  return PretrainedModel{*std::move(spec), *std::move(values)};
}

}  // namespace tributary
