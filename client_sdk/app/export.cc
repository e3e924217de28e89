#include "client_sdk/app/export.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "client_sdk/app/model_file.h"
#include "client_sdk/data/file_bytes.h"
#include "client_sdk/torch/hugging_face.h"
#include "client_sdk/torch/layout_fit.h"
#include "client_sdk/torch/model_folder.h"
#include "client_sdk/torch/peft.h"
#include "client_sdk/torch/torchscript_export.h"
#include "common/cli/exit_code.h"
#include "common/cli/format.h"
#include "common/config/schema.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr int64_t kMaxProgramBytes = int64_t{1} << 32;

constexpr char kExamples[] = R"(Examples:
  # a folder for transformers, of a model that a job tuned
  tributary-client export --model out/model.safetensors \
      --builtin '{name: gpt, context: 64, vocabulary: 256}' --as hugging-face --out tuned-gpt2
  # the first model of a job, from a folder of Hugging Face
  tributary-client export --model TinyLlama-1.1B --as merged --out base.safetensors
  # the adapter that the job's model holds, for PEFT
  tributary-client export --model out/model.safetensors \
      --builtin '{name: gpt, context: 64, vocabulary: 256}' --as peft --base-name my/gpt2 --out adapter
  # of lora_stacking, which holds none: the best one of rank 8 for what it changed
  tributary-client export --model out/model.safetensors \
      --builtin '{name: gpt, context: 64, vocabulary: 256}' \
      --as peft --base first.safetensors --rank 8 --out adapter
  # the job's program with what it learnt
  tributary-client export --model out/model.safetensors --program model.pt \
      --as torchscript --out trained.pt)";

struct ExportFlags {
  std::string model;
  std::string builtin;
  std::string program;
  std::string as;
  std::string out;
  std::string base;
  std::string base_name;
  int64_t rank = 0;
  std::vector<std::string> targets;
  std::vector<int64_t> example_shape;
  bool fan_in_fan_out = false;
};

// What --model is, taken apart.
struct Source {
  std::optional<BuiltinModel> spec;  // none: a program's
  bool transposed = false;           // weights of two dimensions are [inputs, outputs]
  HeldAdapters held;

  bool is_language_model() const { return spec && spec->is_language_model(); }
};

absl::StatusOr<Source> ReadSource(const ExportFlags& flags) {
  Source source;
  ParamVector values;
  if (flags.program.empty()) {
    TRIB_ASSIGN_OR_RETURN(PretrainedModel model, ReadModelFile(flags.model, flags.builtin));
    source.spec = std::move(model.spec);
    values = std::move(model.values);
  } else {
    TRIB_ASSIGN_OR_RETURN(values, ReadSafetensors(flags.model));
  }
  source.transposed =
      flags.fan_in_fan_out || ModelSpec{.builtin = source.spec}.transposed_weights();
  absl::StatusOr<HeldAdapters> held = AdaptersOf(values, source.transposed);
  if (!held.ok()) return WithContext(held.status(), flags.model);
  source.held = *std::move(held);
  if (source.is_language_model()) {
    TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, LanguageModelLayout(*source.spec));
    TRIB_RETURN_IF_ERROR(
        WithContext(CheckFits(*layout, *source.held.merged.layout()), flags.model));
  }
  return source;
}

absl::StatusOr<ParamVector> ReadBase(const std::string& path, bool transposed) {
  std::error_code error;
  ParamVector values;
  if (std::filesystem::is_directory(path, error)) {
    TRIB_ASSIGN_OR_RETURN(PretrainedModel model, ReadHuggingFaceFolder(path));
    values = std::move(model.values);
  } else {
    TRIB_ASSIGN_OR_RETURN(values, ReadSafetensors(path));
  }
  absl::StatusOr<HeldAdapters> held = AdaptersOf(values, transposed);
  if (!held.ok()) return WithContext(held.status(), path);
  return std::move(held->merged);
}

void Tell(const FactoredDifference& difference, std::ostream& out) {
  const auto figure = [](double share) { return absl::StrFormat("%.6f", share); };
  std::vector<std::vector<std::string>> rows = {{"module", "energy kept"}};
  for (size_t i = 0; i < difference.adapters.size(); ++i) {
    rows.push_back({difference.adapters[i].module.name, figure(difference.kept[i])});
  }
  rows.push_back({"all that changed", figure(difference.kept_of_all)});
  out << cli::FormatTable(rows);
  if (difference.left_out.empty()) return;
  constexpr size_t kShown = 10;
  const absl::Span<const std::string> left_out = difference.left_out;
  out << "not in the adapter: "
      << absl::StrJoin(left_out.first(std::min(kShown, left_out.size())), ", ");
  if (left_out.size() > kShown) out << " and " << left_out.size() - kShown << " more";
  out << "\n";
}

absl::Status ExportPeft(const ExportFlags& flags, const Source& source, std::ostream& out) {
  const PeftTerms terms{
      .prefix = source.spec ? std::string(HuggingFacePrefix(*source.spec)) : "",
      .language_model = source.is_language_model(),
      .fan_in_fan_out = source.transposed,
      .base_name = flags.base_name,
  };
  if (!flags.base.empty()) {
    TRIB_ASSIGN_OR_RETURN(const ParamVector base, ReadBase(flags.base, source.transposed));
    TRIB_ASSIGN_OR_RETURN(
        const FactoredDifference difference,
        FactorDifference(
            source.held.merged, base,
            {.rank = flags.rank, .targets = flags.targets, .transposed = source.transposed}));
    TRIB_RETURN_IF_ERROR(WritePeftFolder(difference.adapters, terms, flags.out));
    Tell(difference, out);
    return absl::OkStatus();
  }
  if (source.held.adapters.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(flags.model,
                     " holds no adapter, as a job with lora_stacking keeps none; allowed: one that "
                     "does, or --base and --rank for one of what changed"));
  }
  return WritePeftFolder(source.held.adapters, terms, flags.out);
}

absl::Status ExportTorchScript(const ExportFlags& flags, const Source& source) {
  std::string bytes;
  if (source.spec) {
    if (!source.is_language_model() && flags.example_shape.empty()) {
      return absl::InvalidArgumentError(
          "--example-shape is missing; a built-in model is traced with inputs of that shape");
    }
    TRIB_ASSIGN_OR_RETURN(bytes,
                          TracedModel(*source.spec, flags.example_shape, source.held.merged));
  } else {
    TRIB_ASSIGN_OR_RETURN(const std::string program,
                          ReadFileBytes(flags.program, kMaxProgramBytes));
    TRIB_ASSIGN_OR_RETURN(bytes, ProgramWithValues(program, source.held.merged));
  }
  std::ofstream file(flags.out, std::ios::binary);
  file << bytes;
  file.close();
  if (file) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("cannot write ", flags.out));
}

// How a job begins with what a folder held: its config.json says what the model is.
void TellJob(const BuiltinModel& spec, const std::string& initial, std::ostream& out) {
  out << "a job begins with it by  model: "
      << nlohmann::json{{"builtin", config::Print(spec)}, {"initial", initial}}.dump() << "\n";
}

// Which flags go together.
absl::Status CheckFlags(const ExportFlags& flags) {
  const bool peft = flags.as == "peft";
  const bool traced = flags.as == "torchscript" && flags.program.empty();
  const struct {
    const char* flag;
    bool given;
    bool allowed;
    const char* with;
  } rules[] = {
      {"--base", !flags.base.empty(), peft, "--as peft"},
      {"--base-name", !flags.base_name.empty(), peft, "--as peft"},
      {"--rank", flags.rank != 0, !flags.base.empty(), "--base"},
      {"--targets", !flags.targets.empty(), !flags.base.empty(), "--base"},
      {"--example-shape", !flags.example_shape.empty(), traced,
       "--as torchscript of a built-in model"},
      {"--program", !flags.program.empty(), flags.as != "hugging-face",
       "--as merged, peft or torchscript"},
  };
  for (const auto& rule : rules) {
    if (!rule.given || rule.allowed) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(rule.flag, " is given; allowed with ", rule.with));
  }
  return absl::OkStatus();
}

absl::Status Convert(const ExportFlags& flags, std::ostream& out) {
  TRIB_RETURN_IF_ERROR(CheckFlags(flags));
  TRIB_ASSIGN_OR_RETURN(const Source source, ReadSource(flags));
  if (flags.as == "merged") {
    TRIB_RETURN_IF_ERROR(WriteModelFile(source.held.merged, flags.out));
    if (flags.builtin.empty() && source.spec) TellJob(*source.spec, flags.out, out);
    return absl::OkStatus();
  }
  if (flags.as == "peft") return ExportPeft(flags, source, out);
  if (flags.as == "torchscript") return ExportTorchScript(flags, source);
  return WriteHuggingFaceFolder(*source.spec, source.held.merged, flags.out);
}

void AddOptions(CLI::App& app, ExportFlags& flags) {
  app.add_option("--model", flags.model, "a job's .safetensors file, or a Hugging Face folder")
      ->required();
  CLI::Option* const builtin =
      app.add_option("--builtin", flags.builtin,
                     "of a file: the job's model.builtin, of gpt and llama with context and "
                     "vocabulary");
  app.add_option("--program", flags.program, "of a file: the job's TorchScript program instead")
      ->excludes(builtin);
  app.add_option("--as", flags.as,
                 "merged: one .safetensors, adapters added to their weights; hugging-face: a "
                 "folder of a gpt or llama; peft: a folder of an adapter; torchscript: a .pt file")
      ->required()
      ->check(CLI::IsMember({"merged", "hugging-face", "peft", "torchscript"}));
  app.add_option("--out", flags.out, "the file or folder to write")->required();
  CLI::Option* const base = app.add_option(
      "--base", flags.base,
      "peft: the model that training began with, as --model; the adapter is of the difference");
  app.add_option("--rank", flags.rank, "peft: of the adapter of the difference")
      ->check(CLI::PositiveNumber);
  base->needs("--rank");
  app.add_option("--targets", flags.targets,
                 "peft: patterns of the modules that get an adapter of the difference; absent: all "
                 "that differ")
      ->delimiter(',');
  app.add_option("--base-name", flags.base_name, "peft: where users find the base model");
  app.add_option("--example-shape", flags.example_shape,
                 "torchscript: of a built-in model's inputs, 1,28,28")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app.add_flag("--fan-in-fan-out", flags.fan_in_fan_out,
               "weights are [inputs, outputs], as the job's lora section said; always so of gpt");
}

}  // namespace

int Export(int argc, char** argv, std::ostream& out, std::ostream& err) {
  ExportFlags flags;
  CLI::App app("Writes what a job trained in a form that other tools open.",
               "tributary-client export");
  app.footer(kExamples);
  AddOptions(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, out, err) == 0 ? 0 : static_cast<int>(cli::ExitCode::kUsage);
  }
  const absl::Status status = Convert(flags, out);
  if (status.ok()) return 0;
  err << "tributary-client export: " << status.message() << "\n";
  return ExitCodeOfRefusal(status);
}

}  // namespace tributary
