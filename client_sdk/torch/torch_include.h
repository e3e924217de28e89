// The one door to LibTorch's headers; included by .cc files of this folder only, and
// precompiled. Tensors and their autograd are all that is used: torch/torch.h (modules,
// optimizers, data loaders) would triple the compile time.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_TORCH_INCLUDE_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_TORCH_INCLUDE_H_

// First: without it clang 14 as C++20 rejects the others.
#include <ATen/core/ivalue.h>
// Then the rest.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_TORCH_INCLUDE_H_
