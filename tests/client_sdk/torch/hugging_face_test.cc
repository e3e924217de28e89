#include "client_sdk/torch/hugging_face.h"

#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/token_predictor.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/params/half.h"
#include "common/params/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/client_sdk/torch/language_oracle.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using Code = absl::StatusCode;
using test::StatusIs;
using test::TempDir;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

nlohmann::json Gpt2Config() {
  return {{"model_type", "gpt2"}, {"n_layer", 2},       {"n_head", 3},
          {"n_embd", 12},         {"n_positions", 9},   {"vocab_size", 11},
          {"n_inner", nullptr},   {"resid_pdrop", 0.1}, {"activation_function", "gelu_new"}};
}

nlohmann::json LlamaConfig() {
  return {{"model_type", "llama"},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"hidden_size", 16},
          {"intermediate_size", 20},
          {"max_position_embeddings", 9},
          {"vocab_size", 11},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 500},
          {"rope_scaling", nullptr},
          {"hidden_act", "silu"},
          {"tie_word_embeddings", false}};
}

ParamVector SomeValues(const nlohmann::json& config) {
  const BuiltinModel spec = *ParseHuggingFaceConfig(config.dump());
  JobInfo job;
  job.model_json = absl::StrCat("{\"builtin\":", config::Print(spec).dump(), "}");
  const DataShape shape{{*spec.context}, *spec.vocabulary, /*tokens=*/true};
  return test::RandomParams(TorchWorker().InitialModel(job, shape, 1)->layout(), 3, 0.3F);
}

// The bytes of a safetensors file of some of the tensors, as `dtype`: F32, F16 or BF16.
std::string File(const ParamVector& values, const std::string& dtype,
                 const std::function<bool(size_t)>& has, const std::string& prefix = "") {
  nlohmann::json header;
  std::string data;
  const auto& tensors = values.layout()->tensors();
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!has(i)) continue;
    const size_t begin = data.size();
    for (const float value : values.View(tensors[i].name)) {
      char bytes[4];
      const uint16_t half = dtype == "F16" ? FloatToHalf(value) : FloatToBFloat16(value);
      const size_t width = dtype == "F32" ? 4 : 2;
      std::memcpy(bytes, width == 4 ? static_cast<const void*>(&value) : &half, width);
      data.append(bytes, width);
    }
    header[prefix + tensors[i].name] = {
        {"dtype", dtype}, {"shape", tensors[i].shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string json = header.dump();
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + json + data;
}

bool All(size_t) { return true; }

TEST(HuggingFaceTest, Gpt2WithItsPrefixGivesTheOraclesLogits) {
  const TempDir dir;
  const ParamVector values = SomeValues(Gpt2Config());
  dir.Write("config.json", Gpt2Config().dump());
  dir.Write("model.safetensors", File(values, "F32", All, "transformer."));
  TRIB_ASSERT_OK_AND_ASSIGN(PretrainedModel read, ReadHuggingFaceFolder(dir.path()));
  EXPECT_THAT(read.values.values(), ElementsAreArray(values.values()));
  EXPECT_EQ(read.spec.context, 9);
  EXPECT_EQ(read.spec.mlp_width, 48);
  const std::vector<int32_t> tokens = {3, 1, 10, 0};
  const test::Rows expected = test::OracleLogits(read.spec, test::ValuesOf(values), tokens);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor,
                            TokenPredictor::Create(read.spec, std::move(read.values)));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<float> logits, predictor->Logits(tokens));
  for (size_t i = 0; i < logits.size(); ++i) EXPECT_NEAR(logits[i], expected[i / 11][i % 11], 2e-5);
}

TEST(HuggingFaceTest, ShardsOfOtherTypesAreFoundByName) {
  for (const std::string dtype : {"F32", "BF16", "F16"}) {
    const TempDir dir;
    const ParamVector values = SomeValues(LlamaConfig());
    dir.Write("config.json", LlamaConfig().dump());
    nlohmann::json map;
    for (size_t i = 0; i < values.layout()->tensors().size(); ++i) {
      map[values.layout()->tensors()[i].name] = i % 2 == 0 ? "even.safetensors" : "odd.safetensors";
    }
    dir.Write("model.safetensors.index.json", nlohmann::json{{"weight_map", map}}.dump());
    dir.Write("even.safetensors", File(values, dtype, [](size_t i) { return i % 2 == 0; }));
    dir.Write("odd.safetensors", File(values, dtype, [](size_t i) { return i % 2 == 1; }));
    TRIB_ASSERT_OK_AND_ASSIGN(const PretrainedModel read, ReadHuggingFaceFolder(dir.path()));
    EXPECT_EQ(read.values.layout()->digest(), values.layout()->digest());
    for (size_t i = 0; i < values.values().size(); ++i) {
      const float value = values.values()[i];
      ASSERT_EQ(read.values.values()[i], dtype == "F32"    ? value
                                         : dtype == "BF16" ? BFloat16ToFloat(FloatToBFloat16(value))
                                                           : HalfToFloat(FloatToHalf(value)));
    }
  }
}

TEST(HuggingFaceTest, ReadsTheOptionsOfTheLlamaFamily) {
  nlohmann::json config = LlamaConfig();
  TRIB_ASSERT_OK_AND_ASSIGN(const BuiltinModel llama, ParseHuggingFaceConfig(config.dump()));
  EXPECT_EQ(llama.LanguageModel().kv_heads, 2);
  EXPECT_EQ(llama.LanguageModel().rope_base, 500);
  EXPECT_EQ(llama.LanguageModel().norm_epsilon, 1e-5);
  EXPECT_FALSE(llama.LanguageModel().tied);
  EXPECT_FALSE(llama.LanguageModel().qkv_bias);
  config["model_type"] = "qwen2";
  config["tie_word_embeddings"] = true;
  config.erase("num_key_value_heads");
  TRIB_ASSERT_OK_AND_ASSIGN(const BuiltinModel qwen, ParseHuggingFaceConfig(config.dump()));
  EXPECT_EQ(qwen.LanguageModel().kv_heads, 4);
  EXPECT_TRUE(qwen.LanguageModel().tied);
  EXPECT_TRUE(qwen.LanguageModel().qkv_bias);
}

TEST(HuggingFaceTest, NamesWhatItDoesNotSupport) {
  const struct {
    nlohmann::json config;
    const char* key;
    nlohmann::json value;
    Code code;
    const char* message;
  } kBad[] = {
      {LlamaConfig(), "model_type", "mamba", Code::kUnimplemented,
       "'model_type' is 'mamba'; supported: gpt2, llama, qwen2"},
      {LlamaConfig(), "model_type", nullptr, Code::kUnimplemented, "'model_type' is ''"},
      {LlamaConfig(),
       "rope_scaling",
       {{"type", "linear"}},
       Code::kUnimplemented,
       "'rope_scaling' is {\"type\":\"linear\"}; supported: none"},
      {LlamaConfig(), "hidden_act", "gelu", Code::kUnimplemented, "'hidden_act' is \"gelu\""},
      {LlamaConfig(), "head_dim", 8, Code::kUnimplemented, "'head_dim' is 8; supported: 4, none"},
      {LlamaConfig(), "attention_bias", true, Code::kUnimplemented, "'attention_bias' is true"},
      {LlamaConfig(), "vocab_size", nullptr, Code::kInvalidArgument, "'vocab_size' is missing"},
      {LlamaConfig(), "hidden_size", "16", Code::kInvalidArgument,
       "'hidden_size' is no integer: \"16\""},
      {LlamaConfig(), "hidden_size", 18, Code::kInvalidArgument, "allowed: a multiple of heads"},
      {LlamaConfig(), "num_attention_heads", 0, Code::kInvalidArgument, "heads: out of range"},
      {Gpt2Config(), "activation_function", "relu", Code::kUnimplemented,
       "'activation_function' is \"relu\"; supported: \"gelu_new\""},
      {Gpt2Config(), "scale_attn_by_inverse_layer_idx", true, Code::kUnimplemented,
       "'scale_attn_by_inverse_layer_idx' is true; supported: false"},
      {Gpt2Config(), "n_layer", 1e9, Code::kInvalidArgument, "n_layer"},
  };
  for (const auto& bad : kBad) {
    nlohmann::json config = bad.config;
    config[bad.key] = bad.value;
    EXPECT_THAT(ParseHuggingFaceConfig(config.dump()), StatusIs(bad.code, HasSubstr(bad.message)));
  }
  EXPECT_THAT(ParseHuggingFaceConfig("{"),
              StatusIs(Code::kInvalidArgument, HasSubstr("not a JSON")));
}

TEST(HuggingFaceTest, NamesTheTensorThatDoesNotFit) {
  const TempDir dir;
  EXPECT_THAT(ReadHuggingFaceFolder(dir.path()),
              StatusIs(Code::kNotFound, HasSubstr("config.json: no such file")));
  const ParamVector values = SomeValues(LlamaConfig());
  dir.Write("config.json", LlamaConfig().dump());
  EXPECT_THAT(ReadHuggingFaceFolder(dir.path()),
              StatusIs(Code::kNotFound, HasSubstr("model.safetensors")));
  dir.Write("model.safetensors", File(values, "F32", [](size_t i) { return i != 2; }));
  EXPECT_THAT(ReadHuggingFaceFolder(dir.path()),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("'model.layers.0.self_attn.q_proj.weight' is missing")));
  dir.Write("model.safetensors", File(values, "F32", All));
  nlohmann::json config = LlamaConfig();
  config["intermediate_size"] = 24;
  dir.Write("config.json", config.dump());
  EXPECT_THAT(ReadHuggingFaceFolder(dir.path()),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("'model.layers.0.mlp.gate_proj.weight' has the shape (20, 16); "
                                 "config.json makes it (24, 16)")));
}

TEST(HuggingFaceTest, AnIndexStaysInItsFolder) {
  const TempDir dir;
  dir.Write("config.json", LlamaConfig().dump());
  for (const std::string file : {"\"../other.safetensors\"", "\"/etc/passwd\"", "\"\"", "3"}) {
    dir.Write("model.safetensors.index.json", "{\"weight_map\":{\"a\":" + file + "}}");
    EXPECT_THAT(ReadHuggingFaceFolder(dir.path()),
                StatusIs(Code::kInvalidArgument, HasSubstr("allowed: the name of a file")))
        << file;
  }
  dir.Write("model.safetensors.index.json", "{}");
  EXPECT_THAT(ReadHuggingFaceFolder(dir.path()),
              StatusIs(Code::kInvalidArgument, HasSubstr("has no 'weight_map'")));
}

}  // namespace
}  // namespace tributary
