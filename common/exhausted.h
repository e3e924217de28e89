// What ran out, as a note on a status: whoever sees the status can count it and wait for room,
// whatever its code is.
//
//   return MarkExhausted(absl::UnavailableError("no space left on device"), kDisk);
//   if (IsDiskFull(status)) …                          // also through WithContext
#ifndef TRIBUTARY_COMMON_EXHAUSTED_H_
#define TRIBUTARY_COMMON_EXHAUSTED_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "absl/strings/string_view.h"

namespace tributary {

inline constexpr absl::string_view kDisk = "disk";

// `status` is not OK.
inline absl::Status MarkExhausted(absl::Status status, absl::string_view what) {
  status.SetPayload("tributary/exhausted", absl::Cord(what));
  return status;
}

// Empty: nothing that is known to have run out.
inline std::string ExhaustedOf(const absl::Status& status) {
  const auto what = status.GetPayload("tributary/exhausted");
  return what ? std::string(*what) : std::string();
}

inline bool IsDiskFull(const absl::Status& status) { return ExhaustedOf(status) == kDisk; }

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_EXHAUSTED_H_
