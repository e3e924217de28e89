// What stands around every call into LibTorch.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_TORCH_CALLS_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_TORCH_CALLS_H_

#include <exception>
#include <new>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "client_sdk/torch/torch_include.h"

namespace tributary {

// Runs `work`, which returns a Status or StatusOr, and turns what LibTorch throws into one.
template <typename Work>
auto Guarded(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what()));
  }
}

// The setting belongs to the calling thread, and a thread may come and go.
inline void UseOneIntraOpThread() {
  thread_local const bool done = (at::set_num_threads(1), true);
  static_cast<void>(done);
}

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_TORCH_CALLS_H_
