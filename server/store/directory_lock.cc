#include "server/store/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<DirectoryLock> DirectoryLock::Acquire(const std::string& dir) {
  const std::string path = absl::StrCat(dir, "/lock");
  TRIB_ASSIGN_OR_RETURN(File file, File::Open(path, O_RDWR | O_CREAT));
  if (flock(file.descriptor(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return FileError(errno, "lock", path);
    TRIB_ASSIGN_OR_RETURN(const std::string holder, ReadWholeFile(path));
    return absl::FailedPreconditionError(
        absl::StrCat("the data directory ", dir, " is in use by process ",
                     absl::StripAsciiWhitespace(holder), ", which holds ", path));
  }
  TRIB_RETURN_IF_ERROR(file.Truncate(0));
  TRIB_RETURN_IF_ERROR(file.Append(absl::StrCat(getpid(), "\n")));
  return DirectoryLock(std::move(file));
}

}  // namespace tributary
