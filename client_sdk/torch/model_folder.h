// A folder of tensors and a config that says what they are, as Hugging Face's libraries read it.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_MODEL_FOLDER_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_MODEL_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "common/params/param_vector.h"

namespace tributary {

struct ModelFolder {
  std::string tensors_name;  // "model.safetensors"
  std::string config_name;   // "config.json"
  std::string config;        // JSON
};

// Makes the folder, writes the tensors, then the config; what stood under these names is replaced.
// The file says {"format": "pt"}, without which transformers opens none. FailedPrecondition: it
// cannot be written; Unavailable: the disk is full.
absl::Status WriteModelFolder(const ModelFolder& files, const ParamVector& tensors,
                              const std::string& folder);

// One file of tensors of the same kind.
absl::Status WriteModelFile(const ParamVector& tensors, const std::string& path);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_MODEL_FOLDER_H_
