#include "client_sdk/app/model_file.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/cli/exit_code.h"
#include "common/config/yaml.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<PretrainedModel> ReadModelFile(const std::string& model,
                                              const std::string& builtin) {
  std::error_code error;
  const bool folder = std::filesystem::is_directory(model, error);
  if (folder != builtin.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--builtin says what a .safetensors file's model is, and a folder says it "
                     "itself; --model is ",
                     folder ? "a folder" : "no folder", ", --builtin is ",
                     builtin.empty() ? "missing" : "given"));
  }
  if (folder) return ReadHuggingFaceFolder(model);
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::ParseYaml(builtin, "builtin"));
  PretrainedModel read;
  TRIB_ASSIGN_OR_RETURN(read.spec, config::Parse<BuiltinModel>(node, "builtin"));
  TRIB_ASSIGN_OR_RETURN(read.values, ReadSafetensors(model));
  return read;
}

int ExitCodeOfRefusal(const absl::Status& status) {
  const bool failed =
      absl::IsInternal(status) || absl::IsUnavailable(status) || absl::IsResourceExhausted(status);
  return static_cast<int>(failed ? cli::ExitCode::kFailed : cli::ExitCode::kRefused);
}

}  // namespace tributary
