// Golden files: what a program said when a person last found it right.
//
// With UPDATE_GOLDEN=1 in the environment the files are written instead of compared; read the
// difference before you commit it.
#ifndef TRIBUTARY_TESTS_GOLDEN_GOLDEN_H_
#define TRIBUTARY_TESTS_GOLDEN_GOLDEN_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace tributary::test {

// A path in the source tree.
std::string SourcePath(absl::string_view path);

// Compares `text` with the file at `path`, a path in the source tree.
void ExpectGolden(absl::string_view path, const std::string& text);

// For every file of `folder` (in the source tree) whose name ends in `suffix` after the first
// dot: `read` refuses it, and says to the letter what stands beside it in NAME.expected, where
// the folder is left out of paths. Returns the number of files.
int ExpectGoldenErrors(absl::string_view folder, absl::string_view suffix,
                       const std::function<absl::Status(const std::string& path)>& read);

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_GOLDEN_GOLDEN_H_
