// The file operations that durability is made of, with a Status that names the file.
// POSIX: a file's bytes are durable after SyncFile, its name after SyncDirectory.
#ifndef TRIBUTARY_COMMON_DURABLE_FILE_H_
#define TRIBUTARY_COMMON_DURABLE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace tributary {

// An open file: closes its descriptor at the end. Move-only; thread-compatible, and
// thread-safe for ReadAt.
class File {
 public:
  File() = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();

  // `flags` as of open(2); a file that is created is readable by its owner alone.
  static absl::StatusOr<File> Open(const std::string& path, int flags);

  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  const std::string& path() const { return path_; }

  absl::StatusOr<uint64_t> Size() const;
  absl::Status Append(absl::string_view data);  // at the descriptor's position
  absl::Status WriteAt(uint64_t offset, absl::string_view data);
  // Exactly `length` bytes. DataLoss when the file ends before, or the disk fails.
  absl::Status ReadAt(uint64_t offset, char* out, uint64_t length) const;
  absl::Status Truncate(uint64_t size);
  // The disk keeps room for a file of `size` bytes; the file's size stays as it is. OK where the
  // file system cannot do that.
  absl::Status Reserve(uint64_t size);
  absl::Status Sync();  // what was written is durable when it returns

 private:
  int descriptor_ = -1;
  std::string path_;
};

// NotFound (ENOENT), PermissionDenied, DataLoss (a failed read), else Unavailable: "disk
// full" and its kin, which pass when somebody makes room. IsDiskFull tells a full disk or quota
// (common/exhausted.h).
absl::Status FileError(int error_number, absl::string_view doing, absl::string_view path);

// Also its missing parents; durable.
absl::Status CreateDirectory(const std::string& path);
absl::Status SyncDirectory(const std::string& path);
// Durable; `to` must be in an existing directory of the same file system and is replaced.
absl::Status RenameFile(const std::string& from, const std::string& to);
absl::Status RemoveFile(const std::string& path);  // OK if it is not there
// What the file system that holds `path` has left for this process.
absl::StatusOr<uint64_t> FreeDiskBytes(const std::string& path);
// What the file takes on the disk, with what is reserved for it; 0 if it is not there.
uint64_t DiskBytesOf(const std::string& path);
// Writes `content` so that after a crash either all of it is under `path`, or what was there.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content);
absl::StatusOr<std::string> ReadWholeFile(const std::string& path);
// Removes the files that were last written before `time`. OK if there is no such directory.
absl::Status RemoveFilesOlderThan(const std::string& directory, absl::Time time);
// The names in it, sorted, without "." and "..".
absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_DURABLE_FILE_H_
