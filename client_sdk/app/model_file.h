// What the commands that work on a model without a server share: --model, and how they end.
#ifndef TRIBUTARY_CLIENT_SDK_APP_MODEL_FILE_H_
#define TRIBUTARY_CLIENT_SDK_APP_MODEL_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/torch/hugging_face.h"

namespace tributary {

// `model`: a folder as Hugging Face keeps them, or a .safetensors file whose model `builtin` says,
// YAML of a job's model.builtin. InvalidArgument: a folder with a `builtin`, a file without; errors
// of reading either.
absl::StatusOr<PretrainedModel> ReadModelFile(const std::string& model, const std::string& builtin);

// 1 where the command failed, 3 where what it was given is refused.
int ExitCodeOfRefusal(const absl::Status& status);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_APP_MODEL_FILE_H_
