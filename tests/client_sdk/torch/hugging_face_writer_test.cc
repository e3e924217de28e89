#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/hugging_face.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/safetensors_header.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::StatusIs;
using test::TempDir;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

BuiltinModel Model(const std::string& name) {
  BuiltinModel spec;
  spec.name = name;
  spec.layers = 1;
  spec.width = 16;
  spec.context = 9;
  spec.vocabulary = 11;
  return spec;
}

std::vector<BuiltinModel> Models() {
  BuiltinModel gpt = Model("gpt");
  gpt.heads = 2;
  gpt.mlp_width = 20;
  gpt.norm_epsilon = 1.25e-6;
  BuiltinModel llama = Model("llama");
  llama.kv_heads = 2;
  llama.rope_base = 500000.5;
  BuiltinModel qwen = Model("llama");
  qwen.tied = true;
  qwen.qkv_bias = true;
  return {Model("gpt"), gpt, Model("llama"), llama, qwen};
}

ParamVector SomeValues(const BuiltinModel& spec) {
  return test::RandomParams(*LanguageModelLayout(spec), 3, 0.3F);
}

nlohmann::json WrittenConfig(const BuiltinModel& spec) {
  return nlohmann::json::parse(HuggingFaceConfig(spec));
}

TEST(HuggingFaceWriterTest, TheConfigGivesTheSpecBack) {
  for (const BuiltinModel& spec : Models()) {
    TRIB_ASSERT_OK_AND_ASSIGN(const BuiltinModel read,
                              ParseHuggingFaceConfig(HuggingFaceConfig(spec)));
    const LanguageModelShape is = read.LanguageModel(), was = spec.LanguageModel();
    EXPECT_EQ(read.name, spec.name);
    EXPECT_EQ(read.context, spec.context);
    EXPECT_EQ(read.vocabulary, spec.vocabulary);
    EXPECT_EQ(is.layers, was.layers);
    EXPECT_EQ(is.heads, was.heads);
    EXPECT_EQ(is.kv_heads, was.kv_heads);
    EXPECT_EQ(is.width, was.width);
    EXPECT_EQ(is.mlp_width, was.mlp_width);
    EXPECT_EQ(is.tied, was.tied);
    EXPECT_EQ(is.qkv_bias, was.qkv_bias);
    EXPECT_EQ(is.rope_base, was.rope_base);
    EXPECT_EQ(is.norm_epsilon, was.norm_epsilon);
  }
}

TEST(HuggingFaceWriterTest, TheConfigNamesTheClass) {
  const std::vector<BuiltinModel> models = Models();
  EXPECT_EQ(WrittenConfig(models[0])["architectures"], nlohmann::json({"GPT2LMHeadModel"}));
  EXPECT_EQ(WrittenConfig(models[2])["architectures"], nlohmann::json({"LlamaForCausalLM"}));
  EXPECT_EQ(WrittenConfig(models[4])["architectures"], nlohmann::json({"Qwen2ForCausalLM"}));
  EXPECT_EQ(WrittenConfig(models[0])["model_type"], "gpt2");
  EXPECT_EQ(WrittenConfig(models[4])["model_type"], "qwen2");
}

TEST(HuggingFaceWriterTest, ReadsBackToTheSameBits) {
  for (const BuiltinModel& spec : Models()) {
    const TempDir dir;
    const ParamVector values = SomeValues(spec);
    const std::string folder = dir.File("new/folder");
    ASSERT_THAT(WriteHuggingFaceFolder(spec, values, folder), test::IsOk());
    TRIB_ASSERT_OK_AND_ASSIGN(const PretrainedModel read, ReadHuggingFaceFolder(folder));
    EXPECT_EQ(read.values.layout()->digest(), values.layout()->digest());
    EXPECT_EQ(read.values.ComputeDigest(), values.ComputeDigest());
  }
}

TEST(HuggingFaceWriterTest, TensorsOfAnotherOrderAreFoundByName) {
  const TempDir dir;
  const BuiltinModel spec = Model("gpt");
  const ParamVector values = SomeValues(spec);
  std::vector<ParamLayout::Tensor> tensors = values.layout()->tensors();
  std::reverse(tensors.begin(), tensors.end());
  ParamVector reversed(test::MakeLayout(tensors));
  for (const auto& tensor : tensors) {
    std::ranges::copy(values.View(tensor.name), reversed.View(tensor.name).begin());
  }
  ASSERT_THAT(WriteHuggingFaceFolder(spec, reversed, dir.path()), test::IsOk());
  EXPECT_EQ(ReadHuggingFaceFolder(dir.path())->values.ComputeDigest(), values.ComputeDigest());
}

// The names that save_pretrained writes for models of one layer.
const std::set<std::string>& Gpt2Names() {
  static const auto* const names = new std::set<std::string>{
      "transformer.wte.weight",
      "transformer.wpe.weight",
      "transformer.h.0.ln_1.weight",
      "transformer.h.0.ln_1.bias",
      "transformer.h.0.attn.c_attn.weight",
      "transformer.h.0.attn.c_attn.bias",
      "transformer.h.0.attn.c_proj.weight",
      "transformer.h.0.attn.c_proj.bias",
      "transformer.h.0.ln_2.weight",
      "transformer.h.0.ln_2.bias",
      "transformer.h.0.mlp.c_fc.weight",
      "transformer.h.0.mlp.c_fc.bias",
      "transformer.h.0.mlp.c_proj.weight",
      "transformer.h.0.mlp.c_proj.bias",
      "transformer.ln_f.weight",
      "transformer.ln_f.bias",
  };
  return *names;
}
std::set<std::string> LlamaNames(bool tied, bool qkv_bias) {
  std::set<std::string> names = {"model.embed_tokens.weight", "model.norm.weight"};
  const std::string layer = "model.layers.0.";
  for (const char* module :
       {"input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj",
        "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}) {
    names.insert(absl::StrCat(layer, module, ".weight"));
  }
  for (const char* module : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"}) {
    if (qkv_bias) names.insert(absl::StrCat(layer, module, ".bias"));
  }
  if (!tied) names.insert("lm_head.weight");
  return names;
}

TEST(HuggingFaceWriterTest, TheFileHasTheNamesOfTransformers) {
  const std::vector<BuiltinModel> models = Models();
  const struct {
    const BuiltinModel& spec;
    std::set<std::string> names;
  } kCases[] = {{models[0], Gpt2Names()},
                {models[2], LlamaNames(/*tied=*/false, /*qkv_bias=*/false)},
                {models[4], LlamaNames(/*tied=*/true, /*qkv_bias=*/true)}};
  for (const auto& one : kCases) {
    const TempDir dir;
    ASSERT_THAT(WriteHuggingFaceFolder(one.spec, SomeValues(one.spec), dir.path()), test::IsOk());
    nlohmann::json header = test::ReadSafetensorsHeader(dir.File("model.safetensors"));
    EXPECT_EQ(header["__metadata__"], nlohmann::json({{"format", "pt"}}));
    header.erase("__metadata__");
    std::set<std::string> names;
    for (const auto& [name, tensor] : header.items()) names.insert(name);
    EXPECT_THAT(names, ElementsAreArray(one.names));
  }
  const TempDir dir;
  ASSERT_THAT(WriteHuggingFaceFolder(models[1], SomeValues(models[1]), dir.path()), test::IsOk());
  const nlohmann::json header = test::ReadSafetensorsHeader(dir.File("model.safetensors"));
  EXPECT_EQ(header["transformer.h.0.attn.c_attn.weight"]["shape"], nlohmann::json({16, 48}));
}

TEST(HuggingFaceWriterTest, NamesWhatDoesNotFit) {
  const TempDir dir;
  const BuiltinModel spec = Model("gpt");
  const auto without = [&spec](std::optional<int64_t> BuiltinModel::*field) {
    BuiltinModel less = spec;
    less.*field = std::nullopt;
    return less;
  };
  BuiltinModel mlp;
  mlp.name = "mlp";
  BuiltinModel wider = spec;
  wider.width = 20;
  BuiltinModel shorter = spec;
  shorter.context = 8;
  BuiltinModel deeper = spec;
  deeper.layers = 2;
  BuiltinModel llama = Model("llama");
  const struct {
    BuiltinModel spec;
    const char* message;
  } kBad[] = {
      {without(&BuiltinModel::context), "model gpt has no 'context'"},
      {without(&BuiltinModel::vocabulary), "model gpt has no 'vocabulary'"},
      {mlp, "model mlp is no language model; allowed: gpt, llama"},
      {wider, "tensor 'wte.weight' has the shape (11, 16); allowed: (11, 20)"},
      {shorter, "tensor 'wpe.weight' has the shape (9, 16); allowed: (8, 16)"},
      {deeper, "tensor 'h.1.ln_1.weight' is missing"},
      {llama, "tensor 'model.embed_tokens.weight' is missing"},
  };
  const ParamVector values = SomeValues(spec);
  for (const auto& bad : kBad) {
    EXPECT_THAT(WriteHuggingFaceFolder(bad.spec, values, dir.File("out")),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message)));
    EXPECT_FALSE(std::filesystem::exists(dir.File("out")));
  }
  EXPECT_THAT(WriteHuggingFaceFolder(spec, SomeValues(deeper), dir.File("out")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("tensor 'h.1.ln_1.weight' is none of the model's")));
}

TEST(HuggingFaceWriterTest, SaysWhereItCannotWrite) {
  const TempDir dir;
  const BuiltinModel spec = Model("gpt");
  EXPECT_THAT(WriteHuggingFaceFolder(spec, SomeValues(spec), dir.Write("file", "") + "/folder"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("cannot make the folder")));
}

}  // namespace
}  // namespace tributary
