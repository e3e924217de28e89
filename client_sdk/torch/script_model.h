// ScriptModel: any TorchScript module with forward(inputs) -> logits as a TorchModel.
//
// Its named parameters are the trainable tensors of the layout, whatever their requires_grad says;
// its float32 buffers (the statistics of a batch norm) are the layout's buffers, which training
// changes and the server averages. What else the module holds (integer buffers such as
// num_batches_tracked, plain attributes) stays in it, and begins with each task as the program has
// it: it is never sent.
//
// A parameter that has two names is one tensor, under the first of them.
//
// Its layers show their inputs if it has a method
//
//   layer_inputs(inputs) -> Dict[str, Tensor]
//
// which gives, under the name of each weight [out, in] or [out, in, kernel, kernel], the rows
// [.., in · kernel · kernel] that its layer multiplies with: of a convolution what
// torch.nn.functional.unfold gives, transposed.
//
// Dropout and its kin draw from LibTorch's one generator, which all threads share. A program that
// draws has it alone for each forward pass, seeded from the task: its results do not depend on
// threads, but such passes run one at a time in a process.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_SCRIPT_MODEL_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_SCRIPT_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/torch/torch_trainer.h"

namespace tributary {

// `program` holds the bytes of the file. InvalidArgument: LibTorch cannot read it; it has no
// parameters (torch.jit.freeze makes constants of them), or one that is not float32 or shares a
// part of another's memory; a dropout or a batch norm stands in evaluation mode for good (traced
// so); forward fails on the data's inputs, in training or in evaluation, changes a parameter, or
// gives anything but float32 logits [n, at least num_classes] (of text [n · length, …] or
// [n, length, …]); it has a layer_inputs that fails on them, or gives anything but float32 rows of
// that length by names of its weights.
absl::StatusOr<std::unique_ptr<TorchModel>> MakeScriptModel(
    std::shared_ptr<const std::string> program, const DataShape& shape);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_SCRIPT_MODEL_H_
