#include "common/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/exhausted.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

std::string ParentOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

absl::Status FileError(int error_number, absl::string_view doing, absl::string_view path) {
  const std::string message =
      absl::StrCat("cannot ", doing, " ", path, ": ", std::system_category().message(error_number));
  switch (error_number) {
    case ENOENT:
      return absl::NotFoundError(message);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(message);
    case ENOSPC:
    case EDQUOT:
      return MarkExhausted(absl::UnavailableError(message), kDisk);
    default:
      return absl::UnavailableError(message);
  }
}

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(path_, other.path_);
  return *this;
}

File::~File() {
  if (is_open()) close(descriptor_);
}

absl::StatusOr<File> File::Open(const std::string& path, int flags) {
  File file;
  file.path_ = path;
  do {
    file.descriptor_ = open(path.c_str(), flags | O_CLOEXEC, 0600);
  } while (file.descriptor_ < 0 && errno == EINTR);
  if (file.descriptor_ < 0) return FileError(errno, "open", path);
  return file;
}

absl::StatusOr<uint64_t> File::Size() const {
  struct stat info {};
  if (fstat(descriptor_, &info) != 0) return FileError(errno, "read the size of", path_);
  return static_cast<uint64_t>(info.st_size);
}

absl::Status File::Append(absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written = write(descriptor_, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write", path_);
    data.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status File::WriteAt(uint64_t offset, absl::string_view data) {
  while (!data.empty()) {
    const ssize_t written =
        pwrite(descriptor_, data.data(), data.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(errno, "write", path_);
    data.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

absl::Status File::ReadAt(uint64_t offset, char* out, uint64_t length) const {
  while (length > 0) {
    const ssize_t got = pread(descriptor_, out, length, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::DataLossError(FileError(errno, "read", path_).message());
    }
    if (got == 0) {
      return absl::DataLossError(absl::StrCat("cannot read ", path_, ": it ends at byte ", offset,
                                              ", ", length, " bytes too early"));
    }
    out += got;
    offset += static_cast<uint64_t>(got);
    length -= static_cast<uint64_t>(got);
  }
  return absl::OkStatus();
}

absl::Status File::Truncate(uint64_t size) {
  if (ftruncate(descriptor_, static_cast<off_t>(size)) == 0) return absl::OkStatus();
  return FileError(errno, "truncate", path_);
}

absl::Status File::Reserve(uint64_t size) {
  if (size == 0) return absl::OkStatus();
  while (fallocate(descriptor_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)) != 0) {
    if (errno == EOPNOTSUPP) return absl::OkStatus();
    if (errno != EINTR) return FileError(errno, "reserve room for", path_);
  }
  return absl::OkStatus();
}

absl::Status File::Sync() {
  if (fdatasync(descriptor_) == 0) return absl::OkStatus();
  return FileError(errno, "make durable", path_);
}

absl::Status CreateDirectory(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return absl::OkStatus();
  const std::string parent = ParentOf(path);
  if (parent != path) TRIB_RETURN_IF_ERROR(CreateDirectory(parent));
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return FileError(errno, "create the directory", path);
  }
  return SyncDirectory(parent);
}

absl::Status SyncDirectory(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const File directory, File::Open(path, O_RDONLY | O_DIRECTORY));
  if (fsync(directory.descriptor()) == 0) return absl::OkStatus();
  return FileError(errno, "make durable the directory", path);
}

absl::Status RenameFile(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return FileError(errno, "rename to", to);
  return SyncDirectory(ParentOf(to));
}

absl::Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return FileError(errno, "remove", path);
}

absl::StatusOr<uint64_t> FreeDiskBytes(const std::string& path) {
  struct statvfs info {};
  if (statvfs(path.c_str(), &info) != 0) return FileError(errno, "read the free space of", path);
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

uint64_t DiskBytesOf(const std::string& path) {
  constexpr uint64_t kBlock = 512;  // of st_blocks, whatever the file system
  struct stat info {};
  return stat(path.c_str(), &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * kBlock : 0;
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content) {
  const std::string temporary = absl::StrCat(path, ".tmp");
  {
    TRIB_ASSIGN_OR_RETURN(File file, File::Open(temporary, O_WRONLY | O_CREAT | O_TRUNC));
    TRIB_RETURN_IF_ERROR(file.Append(content));
    TRIB_RETURN_IF_ERROR(file.Sync());
  }
  return RenameFile(temporary, path);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const File file, File::Open(path, O_RDONLY));
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  std::string content(size, '\0');
  TRIB_RETURN_IF_ERROR(file.ReadAt(0, content.data(), size));
  return content;
}

absl::Status RemoveFilesOlderThan(const std::string& directory, absl::Time time) {
  const auto names = ListDirectory(directory);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  TRIB_RETURN_IF_ERROR(names.status());
  for (const std::string& name : *names) {
    const std::string path = absl::StrCat(directory, "/", name);
    struct stat info {};
    if (stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (absl::TimeFromTimespec(info.st_mtim) < time) TRIB_RETURN_IF_ERROR(RemoveFile(path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListDirectory(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator entry(path, error);
  for (const std::filesystem::directory_iterator end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error) return FileError(error.value(), "list", path);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tributary
