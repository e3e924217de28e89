// TRIB_CHECK: for programmer errors only. Anything that a peer, a disk, a
// configuration or a user can cause is a Status (see status_macros.h).
#ifndef TRIBUTARY_COMMON_CHECK_H_
#define TRIBUTARY_COMMON_CHECK_H_

namespace tributary::internal {
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);
}  // namespace tributary::internal

// Ends the process with the place and the condition when `condition` is false.
// Active in every build type.
#define TRIB_CHECK(condition)                                             \
  do {                                                                    \
    if (!(condition)) [[unlikely]] {                                      \
      ::tributary::internal::CheckFailed(__FILE__, __LINE__, #condition); \
    }                                                                     \
  } while (false)

#endif  // TRIBUTARY_COMMON_CHECK_H_
