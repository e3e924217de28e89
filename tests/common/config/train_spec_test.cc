#include "common/train_spec/train_spec.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;
using Code = absl::StatusCode;

template <typename T>
absl::StatusOr<T> FromJson(const std::string& text) {
  return config::Parse<T>(config::NodeFromJson(nlohmann::json::parse(text)), "x");
}

TEST(TrainSpecTest, DefaultsAreComplete) {
  const TrainSpec spec;
  EXPECT_EQ(spec.optimizer.name, "sgd");
  EXPECT_EQ(spec.optimizer.options, config::Print(LocalSgdOptions()));
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainSpec parsed, FromJson<TrainSpec>("{}"));
  EXPECT_EQ(config::Print(parsed), config::Print(spec));
}

TEST(TrainSpecTest, AdamAndAdamwShareTheirOptions) {
  for (const char* name : {"adam", "adamw"}) {
    const nlohmann::json json = {{"optimizer", {{name, {{"beta2", 0.95}}}}}};
    TRIB_ASSERT_OK_AND_ASSIGN(const TrainSpec spec,
                              config::Parse<TrainSpec>(config::NodeFromJson(json)));
    LocalAdamOptions expected;
    expected.beta2 = 0.95;
    EXPECT_EQ(spec.optimizer.options, config::Print(expected));
  }
}

TEST(TrainSpecTest, StepsOrEpochs) {
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainSpec spec, FromJson<TrainSpec>(R"({"local_epochs": 2})"));
  EXPECT_EQ(spec.local_epochs, 2);
  EXPECT_THAT(FromJson<TrainSpec>(R"({"local_epochs": 2, "local_steps": 3})"),
              StatusIs(Code::kInvalidArgument,
                       "x: at most one of local_steps and local_epochs is allowed, found both"));
}

TEST(TrainSpecTest, RangesOfTheOptimizers) {
  for (const char* bad :
       {R"({"optimizer": {"sgd": {"learning_rate": 0}}})",
        R"({"optimizer": {"sgd": {"momentum": 1}}})",
        R"({"optimizer": {"sgd": {"weight_decay": -1}}})",
        R"({"optimizer": {"sgd": {"beta1": 0.9}}})", R"({"optimizer": {"adam": {"beta1": 1}}})",
        R"({"optimizer": {"adamw": {"epsilon": 0}}})", R"({"proximal": -0.1})",
        R"({"batch_size": 0})", R"({"local_steps": 0})"}) {
    EXPECT_THAT(FromJson<TrainSpec>(bad), StatusIs(Code::kInvalidArgument)) << bad;
  }
}

TEST(ModelSpecTest, ExactlyOneKindOfModel) {
  const std::string one_of = "x: must be exactly one of builtin, torchscript, custom; found ";
  EXPECT_THAT(FromJson<ModelSpec>("{}"), StatusIs(Code::kInvalidArgument, one_of + "none"));
  EXPECT_THAT(FromJson<ModelSpec>(R"({"builtin": {"name": "cnn"}, "custom": "mine"})"),
              StatusIs(Code::kInvalidArgument, one_of + "builtin and custom"));
  EXPECT_THAT(FromJson<ModelSpec>(R"({"builtin": {"name": "cnn"}, "torchscript": "m.pt"})"),
              StatusIs(Code::kInvalidArgument, one_of + "builtin and torchscript"));
  TRIB_ASSERT_OK_AND_ASSIGN(
      const ModelSpec spec,
      FromJson<ModelSpec>(R"({"custom": "mine", "initial": "m.safetensors"})"));
  EXPECT_EQ(spec.custom, "mine");
  EXPECT_EQ(spec.initial, "m.safetensors");
  EXPECT_FALSE(spec.is_program());
}

TEST(ModelSpecTest, AProgramIsKnownByItsDigestAndSize) {
  const ProgramSpec abc = ProgramSpecOf("abc");
  EXPECT_EQ(abc.bytes, 3);
  EXPECT_EQ(abc.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_THAT(CheckProgram(abc, "abc"), IsOk());
  EXPECT_THAT(CheckProgram(abc, "abd"),
              StatusIs(Code::kInvalidArgument, HasSubstr("model.program says 3 and ba7816bf")));

  const ModelSpec model{.program = abc};
  EXPECT_TRUE(model.is_program());
  TRIB_ASSERT_OK_AND_ASSIGN(const ModelSpec again,
                            FromJson<ModelSpec>(config::Print(model).dump()));
  EXPECT_EQ(again.program->sha256, abc.sha256);
  EXPECT_EQ(again.program->bytes, 3);
  for (const char* bad : {R"({"torchscript": ""})", R"({"program": {"bytes": 3}})",
                          R"({"program": {"sha256": "abc", "bytes": 3}})"}) {
    EXPECT_THAT(FromJson<ModelSpec>(bad), StatusIs(Code::kInvalidArgument)) << bad;
  }
}

TEST(ModelSpecTest, HiddenBelongsToMlp) {
  TRIB_ASSERT_OK_AND_ASSIGN(const BuiltinModel mlp, FromJson<BuiltinModel>(R"({"name": "mlp"})"));
  EXPECT_THAT(mlp.HiddenWidths(), ElementsAre(200));
  TRIB_ASSERT_OK_AND_ASSIGN(const BuiltinModel deep,
                            FromJson<BuiltinModel>(R"({"name": "mlp", "hidden": [64, 32]})"));
  EXPECT_THAT(deep.HiddenWidths(), ElementsAre(64, 32));
  EXPECT_THAT(FromJson<BuiltinModel>(R"({"name": "cnn", "hidden": [200]})"),
              StatusIs(Code::kInvalidArgument, "x: hidden is an option of mlp, found it with cnn"));
  EXPECT_THAT(FromJson<BuiltinModel>(R"({"name": "mlp", "hidden": [64, 0]})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("x.hidden[1]: out of range")));
  EXPECT_THAT(FromJson<BuiltinModel>(R"({"name": "mlp", "hidden": []})"),
              StatusIs(Code::kInvalidArgument, HasSubstr("too few items")));
}

TEST(BuiltinModelTest, LanguageModelsHaveDefaultsAndRefuseWhatDoesNotFit) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto gpt, FromJson<BuiltinModel>(R"({"name": "gpt"})"));
  EXPECT_EQ(gpt.LanguageModel().mlp_width, 512);
  EXPECT_TRUE(gpt.LanguageModel().tied);
  TRIB_ASSERT_OK_AND_ASSIGN(
      const auto llama, FromJson<BuiltinModel>(R"({"name": "llama", "width": 64, "heads": 8})"));
  EXPECT_EQ(llama.LanguageModel().kv_heads, 8);
  EXPECT_EQ(llama.LanguageModel().mlp_width, 192);  // 170.67, rounded up to a multiple of 32
  EXPECT_FALSE(llama.LanguageModel().tied);
  const struct {
    const char* json;
    const char* message;
  } kBad[] = {
      {R"({"name": "mlp", "layers": 2})",
       "layers is an option of gpt and llama, found it with mlp"},
      {R"({"name": "gpt", "rope_base": 2})", "rope_base is an option of llama, found it with gpt"},
      {R"({"name": "gpt", "tied": true})", "tied is an option of llama, found it with gpt"},
      {R"({"name": "gpt", "hidden": [2]})", "hidden is an option of mlp, found it with gpt"},
      {R"({"name": "gpt", "heads": 3})", "width is 128, heads is 3; allowed: a multiple of heads"},
      {R"({"name": "llama", "kv_heads": 3})",
       "heads is 4, kv_heads is 3; allowed: a multiple of kv_heads"},
      {R"({"name": "llama", "width": 12, "heads": 4})", "width / heads is 3; allowed: an even"},
      {R"({"name": "gpt", "layers": 0})", "x.layers: out of range"},
  };
  for (const auto& bad : kBad) {
    EXPECT_THAT(FromJson<BuiltinModel>(bad.json),
                StatusIs(Code::kInvalidArgument, HasSubstr(bad.message)))
        << bad.json;
  }
}

// What is printed for the wire reads back as the same, for every model.
TEST(ModelSpecTest, RoundTrips) {
  for (const char* name : {"logistic", "mlp", "cnn", "resnet", "gpt", "llama"}) {
    const nlohmann::json json = {{"builtin", {{"name", name}}}};
    TRIB_ASSERT_OK_AND_ASSIGN(const ModelSpec spec,
                              config::Parse<ModelSpec>(config::NodeFromJson(json)));
    EXPECT_EQ(config::Print(spec), json);
  }
}

}  // namespace
}  // namespace tributary
