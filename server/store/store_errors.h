// The refusals that all stores give in the same words.
#ifndef TRIBUTARY_SERVER_STORE_STORE_ERRORS_H_
#define TRIBUTARY_SERVER_STORE_STORE_ERRORS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/ids.h"

namespace tributary::store {

absl::Status UnknownJob(const JobId& job);                                   // NotFound
absl::Status UnknownVersion(const JobId& job, Version version);              // NotFound
absl::Status ModelNotKept(const JobId& job, Version version);                // NotFound
absl::Status DeltaNotKept(const JobId& job, Version version);                // NotFound
absl::Status StateNotKept(const JobId& job, Version version);                // NotFound
absl::Status NotNextVersion(const JobId& job, Version found, Version next);  // FailedPrecondition
absl::Status RequestIdTaken(const std::string& request_id);                  // AlreadyExists

// DataLoss: the state of a version lacks what the pipeline wants, or has it in another layout.
absl::Status StateMissing(const JobId& job, Version version, absl::string_view name);
absl::Status StateLayoutDiffers(const JobId& job, Version version, absl::string_view name);

// OutOfRange unless [offset, offset + length) lies within a model of `size` bytes.
absl::Status CheckRange(uint64_t offset, uint64_t length, uint64_t size);
// InvalidArgument unless the id is valid; `kind` is "job" or "client".
absl::Status CheckId(absl::string_view kind, const std::string& id);
absl::Status CheckKeep(int64_t keep);  // InvalidArgument below 1

}  // namespace tributary::store

#endif  // TRIBUTARY_SERVER_STORE_STORE_ERRORS_H_
