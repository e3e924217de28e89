#include "server/live/job_files.h"

#include <fcntl.h>

#include "absl/strings/str_cat.h"
#include "common/exhausted.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<JobFiles>> JobFiles::Open(const std::string& dir, Limits limits) {
  TRIB_ASSIGN_OR_RETURN(auto whole, ContentFiles::Open(dir, ""));
  return std::unique_ptr<JobFiles>(new JobFiles(dir, limits, std::move(whole)));
}

absl::Status JobFiles::CheckRoom(const FileDigest& digest) const {
  if (digest.bytes > limits_.max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the file has ", digest.bytes,
                                                   " bytes; at most ", limits_.max_bytes,
                                                   " (limits.max_update_bytes)"));
  }
  TRIB_ASSIGN_OR_RETURN(const uint64_t free, FreeDiskBytes(dir_));
  if (free >= digest.bytes && free - digest.bytes >= limits_.min_free_bytes) {
    return absl::OkStatus();
  }
  return MarkExhausted(absl::ResourceExhaustedError(absl::StrCat(
                           "no room for a file of ", digest.bytes, " bytes: the disk has ", free,
                           ", of which ", limits_.min_free_bytes, " stay free")),
                       kDisk);
}

absl::StatusOr<uint64_t> JobFiles::Put(const FileDigest& digest, uint64_t offset,
                                       absl::string_view data) {
  MutexLock lock(appending_);
  if (whole_->OpenForReading(digest.sha256, digest.bytes).ok()) return digest.bytes;
  const std::string part =
      absl::StrCat(dir_, "/", digest.sha256.ToHex(), "-", digest.bytes, ".part");
  TRIB_ASSIGN_OR_RETURN(File file, File::Open(part, O_RDWR | O_CREAT));
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size == 0) {
    absl::Status status = CheckRoom(digest);
    if (status.ok()) status = file.Reserve(digest.bytes);
    if (!status.ok()) {
      RemoveFile(part).IgnoreError();
      return status;
    }
  }
  if (offset != size) return size;
  if (data.size() > digest.bytes - size) {
    return absl::InvalidArgumentError(absl::StrCat("a piece of ", data.size(), " bytes at ", offset,
                                                   " of a file of ", digest.bytes));
  }
  TRIB_RETURN_IF_ERROR(file.WriteAt(offset, data));
  const uint64_t end = offset + data.size();
  if (end < digest.bytes) return end;
  TRIB_RETURN_IF_ERROR(whole_->Take(part, digest.sha256));
  return end;
}

absl::StatusOr<File> JobFiles::OpenForReading(const FileDigest& digest) const {
  return whole_->OpenForReading(digest.sha256, digest.bytes);
}

absl::Status JobFiles::MoveTo(const FileDigest& digest, const std::string& path) {
  TRIB_RETURN_IF_ERROR(OpenForReading(digest).status());
  return RenameFile(whole_->PathOf(digest.sha256), path);
}

}  // namespace tributary
