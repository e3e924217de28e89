// What a job trained, as a TorchScript file: torch.jit.load(path)(inputs) gives its logits.
//
// No LibTorch header is needed to include this one.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_TORCHSCRIPT_EXPORT_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_TORCHSCRIPT_EXPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/params/param_vector.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

// The bytes of the job's program with these values in its parameters and float32 buffers, in
// evaluation mode. What else the module holds stays as it was. InvalidArgument: LibTorch cannot
// read the program; a tensor of the one that the other has not, or has in another shape.
absl::StatusOr<std::string> ProgramWithValues(const std::string& program,
                                              const ParamVector& values);

// The bytes of a built-in model's forward pass, traced for inputs [n, example_shape…] of any n, its
// parameters under their names. Unimplemented: a language model, whose trace would hold for texts
// of one length alone. InvalidArgument: values that are not the spec's for this shape.
absl::StatusOr<std::string> TracedModel(const BuiltinModel& spec,
                                        const std::vector<int64_t>& example_shape,
                                        const ParamVector& values);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_TORCHSCRIPT_EXPORT_H_
