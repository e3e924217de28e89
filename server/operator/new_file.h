// A file under a temporary name until it is whole.
#ifndef TRIBUTARY_SERVER_OPERATOR_NEW_FILE_H_
#define TRIBUTARY_SERVER_OPERATOR_NEW_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tributary::op {

// Removed unless it is committed. Errors: FailedPrecondition with the path. Thread-compatible.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)), part_(path_ + ".part") {}
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile();

  absl::Status Open();
  absl::Status Write(absl::string_view bytes);
  // Gives the file its name, durably; replaces what has it.
  absl::Status Commit();

 private:
  const std::string path_, part_;
  int fd_ = -1;
};

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_NEW_FILE_H_
