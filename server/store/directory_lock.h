// DirectoryLock: one process at a time in a data directory.
#ifndef TRIBUTARY_SERVER_STORE_DIRECTORY_LOCK_H_
#define TRIBUTARY_SERVER_STORE_DIRECTORY_LOCK_H_

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "common/durable_file.h"

namespace tributary {

// Holds an flock on `<dir>/lock`, which names the holder's process id. The kernel releases it
// however the process ends. Move-only.
class DirectoryLock {
 public:
  // FailedPrecondition naming the process that holds it.
  static absl::StatusOr<DirectoryLock> Acquire(const std::string& dir);

 private:
  explicit DirectoryLock(File file) : file_(std::move(file)) {}
  File file_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_DIRECTORY_LOCK_H_
