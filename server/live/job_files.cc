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

absl::Status JobFiles::CheckRoom(const FileName& name) const {
  if (name.bytes > limits_.max_bytes) {
    return absl::InvalidArgumentError(absl::StrCat("the file has ", name.bytes, " bytes; at most ",
                                                   limits_.max_bytes,
                                                   " (limits.max_update_bytes)"));
  }
  TRIB_ASSIGN_OR_RETURN(const uint64_t free, FreeDiskBytes(dir_));
  if (free >= name.bytes && free - name.bytes >= limits_.min_free_bytes) return absl::OkStatus();
  return MarkExhausted(absl::ResourceExhaustedError(absl::StrCat(
                           "no room for a file of ", name.bytes, " bytes: the disk has ", free,
                           ", of which ", limits_.min_free_bytes, " stay free")),
                       kDisk);
}

absl::StatusOr<uint64_t> JobFiles::Put(const FileName& name, uint64_t offset,
                                       absl::string_view data) {
  MutexLock lock(appending_);
  if (whole_->OpenForReading(name.sha256, name.bytes).ok()) return name.bytes;
  const std::string part = absl::StrCat(dir_, "/", name.sha256.ToHex(), "-", name.bytes, ".part");
  TRIB_ASSIGN_OR_RETURN(File file, File::Open(part, O_RDWR | O_CREAT));
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size == 0) {
    absl::Status status = CheckRoom(name);
    if (status.ok()) status = file.Reserve(name.bytes);
    if (!status.ok()) {
      RemoveFile(part).IgnoreError();
      return status;
    }
  }
  if (offset != size) return size;
  if (data.size() > name.bytes - size) {
    return absl::InvalidArgumentError(absl::StrCat("a piece of ", data.size(), " bytes at ", offset,
                                                   " of a file of ", name.bytes));
  }
  TRIB_RETURN_IF_ERROR(file.WriteAt(offset, data));
  const uint64_t end = offset + data.size();
  if (end < name.bytes) return end;
  TRIB_RETURN_IF_ERROR(whole_->Take(part, name.sha256));
  return end;
}

absl::StatusOr<File> JobFiles::OpenForReading(const FileName& name) const {
  return whole_->OpenForReading(name.sha256, name.bytes);
}

absl::Status JobFiles::MoveTo(const FileName& name, const std::string& path) {
  TRIB_RETURN_IF_ERROR(OpenForReading(name).status());
  return RenameFile(whole_->PathOf(name.sha256), path);
}

}  // namespace tributary
