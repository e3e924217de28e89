#include "client_sdk/torch/layout_fit.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace tributary {

absl::Status CheckFits(const ParamLayout& expected, const ParamLayout& found) {
  for (const ParamLayout::Tensor& tensor : expected.tensors()) {
    const ParamLayout::Tensor* const other = found.Find(tensor.name);
    if (other == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "' is missing"));
    }
    if (other->shape == tensor.shape) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor '", tensor.name, "' has the shape (", absl::StrJoin(other->shape, ", "),
        "); allowed: (", absl::StrJoin(tensor.shape, ", "), ")"));
  }
  for (const ParamLayout::Tensor& tensor : found.tensors()) {
    if (expected.Find(tensor.name) != nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor '", tensor.name, "' is none of the model's"));
  }
  return absl::OkStatus();
}

}  // namespace tributary
