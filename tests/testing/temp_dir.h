// TempDir: a directory that lives as long as its object.
#ifndef TRIBUTARY_TESTS_TESTING_TEMP_DIR_H_
#define TRIBUTARY_TESTS_TESTING_TEMP_DIR_H_

#include <string>

#include "absl/strings/string_view.h"

namespace tributary::test {

// Made empty under $TMPDIR (or /tmp), removed with all that is in it. Thread-compatible.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(absl::string_view name) const;  // path()/name

  // Writes `content` to File(name), making folders on the way, and returns its path.
  std::string Write(absl::string_view name, absl::string_view content) const;

 private:
  std::string path_;
};

// The file's bytes; a file that cannot be read ends the test program.
std::string ReadFile(const std::string& path);

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_TEMP_DIR_H_
