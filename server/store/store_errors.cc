#include "server/store/store_errors.h"

#include "absl/strings/str_cat.h"

namespace tributary::store {
namespace {

std::string Name(const JobId& job, Version version) {
  return absl::StrCat("version ", version, " of job '", job.value(), "'");
}

}  // namespace

absl::Status UnknownJob(const JobId& job) {
  return absl::NotFoundError(absl::StrCat("no job '", job.value(), "'"));
}

absl::Status UnknownVersion(const JobId& job, Version version) {
  return absl::NotFoundError(absl::StrCat("no ", Name(job, version)));
}

absl::Status ModelNotKept(const JobId& job, Version version) {
  return absl::NotFoundError(
      absl::StrCat("the values of ", Name(job, version), " are no longer kept"));
}

absl::Status DeltaNotKept(const JobId& job, Version version) {
  return absl::NotFoundError(absl::StrCat("no delta to ", Name(job, version)));
}

absl::Status StateNotKept(const JobId& job, Version version) {
  return absl::NotFoundError(
      absl::StrCat("the pipeline state of ", Name(job, version), " is no longer kept"));
}

absl::Status NotNextVersion(const JobId& job, Version found, Version next) {
  return absl::FailedPreconditionError(absl::StrCat(
      "job '", job.value(), "': cannot publish version ", found, ", the next one is ", next));
}

absl::Status RequestIdTaken(const std::string& request_id) {
  return absl::AlreadyExistsError(
      absl::StrCat("another job was submitted with request id '", request_id, "'"));
}

absl::Status StateMissing(const JobId& job, Version version, absl::string_view name) {
  return absl::DataLossError(
      absl::StrCat("the pipeline state of ", Name(job, version), " has no '", name, "'"));
}

absl::Status StateLayoutDiffers(const JobId& job, Version version, absl::string_view name) {
  return absl::DataLossError(absl::StrCat("the pipeline state '", name, "' of ", Name(job, version),
                                          " has another layout than the pipeline expects"));
}

absl::Status CheckRange(uint64_t offset, uint64_t length, uint64_t size) {
  if (offset <= size && length <= size - offset) return absl::OkStatus();
  return absl::OutOfRangeError(absl::StrCat("cannot read ", length, " bytes at offset ", offset,
                                            ": the model has ", size, " bytes"));
}

absl::Status CheckId(absl::string_view kind, const std::string& id) {
  if (IsValidId(id)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      kind, " id '", id, "' is not 1 to 128 letters, digits, '.', '_' or '-', or begins with '.'"));
}

absl::Status CheckKeep(int64_t keep) {
  if (keep >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("versions to keep: must be at least 1, found ", keep));
}

}  // namespace tributary::store
