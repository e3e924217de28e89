// Whether a file's tensors are those of a model, whatever their order.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_LAYOUT_FIT_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_LAYOUT_FIT_H_

#include "absl/status/status.h"
#include "common/params/param_layout.h"

namespace tributary {

// InvalidArgument: a tensor of `expected` that `found` has not, or has in another shape, or one
// that `found` has and `expected` has not, naming it.
absl::Status CheckFits(const ParamLayout& expected, const ParamLayout& found);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_LAYOUT_FIT_H_
