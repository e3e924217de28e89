#include "client_sdk/torch/model_folder.h"

#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/params/safetensors.h"
#include "common/status_macros.h"

namespace tributary {

absl::Status WriteModelFolder(const ModelFolder& files, const ParamVector& tensors,
                              const std::string& folder) {
  const std::filesystem::path to = folder;
  std::error_code error;
  std::filesystem::create_directories(to, error);
  if (error) {
    return absl::FailedPreconditionError(
        absl::StrCat("cannot make the folder ", folder, ": ", error.message()));
  }
  TRIB_RETURN_IF_ERROR(WriteModelFile(tensors, (to / files.tensors_name).string()));
  std::ofstream config(to / files.config_name, std::ios::binary);
  config << files.config;
  config.close();
  if (config) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("cannot write ", (to / files.config_name).string()));
}

absl::Status WriteModelFile(const ParamVector& tensors, const std::string& path) {
  return WriteSafetensors(tensors, path, {{"format", "pt"}});
}

}  // namespace tributary
