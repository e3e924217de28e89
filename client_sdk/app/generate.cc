#include "client_sdk/app/generate.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/app/model_file.h"
#include "client_sdk/data/dataset_spec.h"
#include "client_sdk/data/readers.h"
#include "client_sdk/torch/token_predictor.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr int kUsage = 2;

constexpr char kExamples[] = R"(Examples:
  # a folder as Hugging Face keeps them, of a model that reads bytes
  tributary-client generate --model tiny-gpt2 --prompt 'Once upon a time'
  # one of Llama's family, with the tokenizer.model beside its weights
  tributary-client generate --model tiny-llama --first-token 1 --prompt 'Once upon a time'
  # the model that a job left, trained on the characters of a text
  tributary-client generate --model out/model.safetensors \
      --builtin '{name: gpt, context: 64, vocabulary: 65}' \
      --data '{dataset: text, path: plays.txt, tokens: characters, test_fraction: 0.1}' \
      --prompt 'To be, or' --tokens 200 --temperature 0.8)";

struct GenerateFlags {
  std::string model;
  std::string builtin;    // of a file; empty: `model` is a folder
  std::string tokenizer;  // empty: the folder's, if it has one
  std::string data;       // without either: the text's tokens; empty: bytes
  std::string prompt;
  std::optional<int32_t> first_token;
  ContinueOptions options{.tokens = 100};
};

absl::StatusOr<std::unique_ptr<Tokenizer>> ReadTokenizer(const GenerateFlags& flags) {
  const std::string beside = absl::StrCat(flags.model, "/tokenizer.model");
  std::error_code error;
  if (!flags.tokenizer.empty()) return ReadSentencePieceTokenizer(flags.tokenizer);
  if (flags.data.empty() && std::filesystem::exists(beside, error)) {
    return ReadSentencePieceTokenizer(beside);
  }
  if (flags.data.empty()) return MakeByteTokenizer();
  TRIB_ASSIGN_OR_RETURN(const DatasetSpec spec, ParseDataFlag(flags.data));
  return TokenizerOf(spec);
}

absl::StatusOr<std::string> Continuation(const GenerateFlags& flags) {
  TRIB_ASSIGN_OR_RETURN(PretrainedModel model, ReadModelFile(flags.model, flags.builtin));
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<Tokenizer> tokenizer, ReadTokenizer(flags));
  TRIB_ASSIGN_OR_RETURN(const auto predictor,
                        TokenPredictor::Create(model.spec, std::move(model.values)));
  if (*model.spec.vocabulary != tokenizer->vocabulary()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model has ", *model.spec.vocabulary, " tokens, the text ", tokenizer->vocabulary(),
        "; it was trained on others, which --tokenizer or --data name"));
  }
  TRIB_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer->Encode(flags.prompt));
  if (flags.first_token) tokens.insert(tokens.begin(), *flags.first_token);
  TRIB_ASSIGN_OR_RETURN(const std::vector<int32_t> more,
                        predictor->Continue(tokens, flags.options));
  tokens.insert(tokens.end(), more.begin(), more.end());
  tokens.erase(tokens.begin(), tokens.begin() + (flags.first_token ? 1 : 0));
  return tokenizer->Decode(tokens);  // as one: what a token says may depend on where it stands
}

}  // namespace

int Generate(int argc, char** argv, std::ostream& out, std::ostream& err) {
  GenerateFlags flags;
  CLI::App app("Shows what a language model says after a prompt.", "tributary-client generate");
  app.footer(kExamples);
  app.add_option("--model", flags.model, "a Hugging Face folder, or a .safetensors file")
      ->required();
  app.add_option("--builtin", flags.builtin,
                 "of a file: the job's model.builtin, with its context and vocabulary");
  CLI::Option* tokenizer =
      app.add_option("--tokenizer", flags.tokenizer,
                     "a SentencePiece model; absent: the folder's tokenizer.model");
  app.add_option("--data", flags.data,
                 "or the text that the model was trained on, {dataset: text, key: value, ...}; "
                 "absent, without a tokenizer: tokens are bytes")
      ->excludes(tokenizer);
  app.add_option("--prompt", flags.prompt, "the text to go on from")->required();
  app.add_option("--first-token", flags.first_token,
                 "put before the prompt's; 1, <s>, for most of Llama's family");
  app.add_option("--tokens", flags.options.tokens, "how many")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--temperature", flags.options.temperature,
                 "draw each token, the more freely the higher; 0: the likeliest")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--seed", flags.options.seed, "of the draws")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? 0 : kUsage;
  }
  const absl::StatusOr<std::string> text = Continuation(flags);
  if (!text.ok()) {
    err << "tributary-client generate: " << text.status().message() << "\n";
    return ExitCodeOfRefusal(text.status());
  }
  out << *text << "\n";
  return 0;
}

}  // namespace tributary
