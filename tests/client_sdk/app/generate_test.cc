#include "client_sdk/app/generate.h"

#include <string>
#include <utility>
#include <vector>

#include "client_sdk/data/tokenizer.h"
#include "client_sdk/torch/token_predictor.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/params/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/app/command.h"
#include "tests/client_sdk/data/sentence_piece_file.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::Outcome;
using test::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Outcome RunGenerate(std::vector<std::string> args) {
  return test::RunCommand(Generate, std::move(args));
}

BuiltinModel Spec(int64_t vocabulary) {
  BuiltinModel spec;
  spec.name = "gpt";
  spec.layers = 1;
  spec.heads = 2;
  spec.width = 8;
  spec.context = 6;
  spec.vocabulary = vocabulary;
  return spec;
}

ParamVector Values(const BuiltinModel& spec) {
  JobInfo job;
  job.model_json = "{\"builtin\":" + config::Print(spec).dump() + "}";
  const DataShape shape{{*spec.context}, *spec.vocabulary, /*tokens=*/true};
  return test::RandomParams(TorchWorker().InitialModel(job, shape, 1)->layout(), 2, 0.5F);
}

TEST(GenerateTest, ContinuesAPromptInBytes) {
  const TempDir dir;
  const BuiltinModel spec = Spec(256);
  ASSERT_THAT(WriteSafetensors(Values(spec), dir.File("model.safetensors")), test::IsOk());
  dir.Write("config.json",
            R"({"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 6,)"
            R"( "vocab_size": 256})");
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor, TokenPredictor::Create(spec, Values(spec)));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto more, predictor->Continue({'h', 'i'}, {.tokens = 9}));
  const std::string expected = "hi" + std::string(more.begin(), more.end()) + "\n";
  const Outcome folder = RunGenerate({"--model", dir.path(), "--prompt", "hi", "--tokens", "9"});
  EXPECT_EQ(folder.code, 0);
  EXPECT_EQ(folder.out, expected);
  EXPECT_THAT(folder.err, IsEmpty());
  const Outcome file = RunGenerate({"--model", dir.File("model.safetensors"), "--builtin",
                                    config::Print(spec).dump(), "--prompt", "hi", "--tokens", "9"});
  EXPECT_EQ(file.out, expected);
}

TEST(GenerateTest, DrawsTheCharactersOfTheDataBySeed) {
  const TempDir dir;
  const std::string file = dir.File("model.safetensors");
  ASSERT_THAT(WriteSafetensors(Values(Spec(3)), file), test::IsOk());
  const std::string data = "{dataset: text, tokens: characters, test_fraction: 0.1, path: " +
                           dir.Write("text.txt", "abcabcabc") + "}";
  const auto run = [&](const std::string& seed) {
    return RunGenerate({"--model", file, "--builtin", config::Print(Spec(3)).dump(), "--data", data,
                        "--prompt", "ab", "--tokens", "40", "--temperature", "3", "--seed", seed});
  };
  const Outcome one = run("1");
  EXPECT_EQ(one.code, 0) << one.err;
  EXPECT_THAT(one.out, ::testing::MatchesRegex("ab[abc]{40}\n"));
  EXPECT_EQ(run("1").out, one.out);
  EXPECT_NE(run("2").out, one.out);
}

TEST(GenerateTest, ReadsTheSentencePieceModelBesideTheWeights) {
  const TempDir dir;
  const BuiltinModel spec = Spec(7);
  ASSERT_THAT(WriteSafetensors(Values(spec), dir.File("model.safetensors")), test::IsOk());
  dir.Write("config.json",
            R"({"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 6,)"
            R"( "vocab_size": 7})");
  const std::string model = dir.Write("tokenizer.model", test::SmallSentencePieceModel());
  TRIB_ASSERT_OK_AND_ASSIGN(const auto predictor, TokenPredictor::Create(spec, Values(spec)));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, ReadSentencePieceTokenizer(model));
  // "ab a" is 6 2 3.
  const auto expected = [&](std::vector<int32_t> tokens, size_t before) {
    const auto more = predictor->Continue(tokens, {.tokens = 9});
    tokens.insert(tokens.end(), more->begin(), more->end());
    return tokenizer->Decode(absl::MakeConstSpan(tokens).subspan(before)) + "\n";
  };
  const std::vector<std::string> args = {"--prompt", "ab a", "--tokens", "9", "--model"};
  const auto run = [&args](std::vector<std::string> more) {
    more.insert(more.begin(), args.begin(), args.end());
    return RunGenerate(more);
  };
  const Outcome folder = run({dir.path()});
  EXPECT_EQ(folder.code, 0) << folder.err;
  EXPECT_EQ(folder.out, expected({6, 2, 3}, 0));
  EXPECT_EQ(run({dir.path(), "--first-token", "1"}).out, expected({1, 6, 2, 3}, 1));
  EXPECT_EQ(run({dir.File("model.safetensors"), "--builtin", config::Print(spec).dump(),
                 "--tokenizer", model})
                .out,
            folder.out);
  EXPECT_EQ(run({dir.path(), "--tokenizer", model, "--data", "text"}).code, 2);
}

TEST(GenerateTest, SaysWhatIsWrong) {
  const TempDir dir;
  const std::string file = dir.File("model.safetensors");
  ASSERT_THAT(WriteSafetensors(Values(Spec(3)), file), test::IsOk());
  const std::string builtin = config::Print(Spec(3)).dump();
  const struct {
    std::vector<std::string> args;
    int code;
    const char* message;
  } kBad[] = {
      {{"--prompt", "a"}, 2, "--model"},
      {{"--model", file, "--prompt", "a", "--tokens", "-1"}, 2, "--tokens"},
      {{"--model", file, "--prompt", "a"}, 3, "--model is no folder, --builtin is missing"},
      {{"--model", dir.path(), "--prompt", "a"}, 3, "config.json: no such file"},
      {{"--model", file, "--builtin", builtin, "--prompt", "a"},
       3,
       "the model has 3 tokens, the text 256"},
      {{"--model", file, "--builtin", "{name: mlp}", "--prompt", "a"},
       3,
       "model mlp predicts no tokens"},
      {{"--model", file, "--builtin", builtin, "--data", "synthetic", "--prompt", "a"},
       3,
       "dataset is 'synthetic', which has no tokens"},
      {{"--model", dir.File("none"), "--builtin", builtin, "--prompt", "a"}, 3, "no file"},
  };
  for (const auto& bad : kBad) {
    const Outcome outcome = RunGenerate(bad.args);
    EXPECT_EQ(outcome.code, bad.code) << bad.message;
    EXPECT_THAT(outcome.err, HasSubstr(bad.message));
    EXPECT_THAT(outcome.out, IsEmpty());
  }
  const Outcome help = RunGenerate({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
}

}  // namespace
}  // namespace tributary
