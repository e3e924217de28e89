// Which BLAS library multiplies LibTorch's matrices, and whether it is a good one.
//
// Debian's default, the reference implementation, makes training ten times slower; OpenBLAS
// built serial returned wrong products from several threads, and built on pthreads it is slow
// with several callers. Its OpenMP build is the one to have.
#ifndef TRIBUTARY_COMMON_BLAS_H_
#define TRIBUTARY_COMMON_BLAS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace tributary {

// What is wrong with the library at this path, symbolic links resolved, and the cure; "" if
// nothing is.
std::string BlasProblem(absl::string_view path);

// The path of the BLAS among the files of `maps`, the text of a /proc/<pid>/maps; "" if none.
std::string LoadedBlas(absl::string_view maps);

// Logs a warning if this process has loaded a BLAS with a problem. For a program's start.
void WarnOfBadBlas();

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_BLAS_H_
