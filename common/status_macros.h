// Early return on a bad absl::Status or absl::StatusOr.
//
//   TRIB_RETURN_IF_ERROR(store.Put(version));
//   TRIB_ASSIGN_OR_RETURN(ParamVector params, ReadSafetensors(path));
//
// WithContext adds where it happened, and keeps the code and the payloads:
//
//   return WithContext(status, absl::StrCat("job file ", path));   // "job file x.yaml: <message>"
#ifndef TRIBUTARY_COMMON_STATUS_MACROS_H_
#define TRIBUTARY_COMMON_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace tributary {

inline absl::Status WithContext(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status placed(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view type, const absl::Cord& payload) { placed.SetPayload(type, payload); });
  return placed;
}

}  // namespace tributary

#define TRIB_CONCAT_INNER_(a, b) a##b
#define TRIB_CONCAT_(a, b) TRIB_CONCAT_INNER_(a, b)

#define TRIB_RETURN_IF_ERROR(expression)                              \
  do {                                                                \
    if (absl::Status trib_status = (expression); !trib_status.ok()) { \
      return trib_status;                                             \
    }                                                                 \
  } while (false)

#define TRIB_ASSIGN_OR_RETURN(declaration, expression) \
  TRIB_ASSIGN_OR_RETURN_(TRIB_CONCAT_(trib_status_or_, __LINE__), declaration, expression)
#define TRIB_ASSIGN_OR_RETURN_(status_or, declaration, expression) \
  auto status_or = (expression);                                   \
  if (!status_or.ok()) return std::move(status_or).status();       \
  declaration = *std::move(status_or)

#endif  // TRIBUTARY_COMMON_STATUS_MACROS_H_
