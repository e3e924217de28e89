// What every command tells its caller by its exit code.
#ifndef TRIBUTARY_COMMON_CLI_EXIT_CODE_H_
#define TRIBUTARY_COMMON_CLI_EXIT_CODE_H_

#include "absl/status/status.h"

namespace tributary::cli {

enum class ExitCode {
  kDone = 0,
  kFailed = 1,
  kUsage = 2,
  kRefused = 3,      // the configuration or the job
  kUnreachable = 4,  // the server
  kNotAllowed = 5,   // not authenticated, or not permitted
  kJobFailed = 6,
  kInterrupted = 130,
};

// The code for an error of reading a configuration or of asking a server.
ExitCode ExitCodeOf(const absl::Status& status);

}  // namespace tributary::cli

#endif  // TRIBUTARY_COMMON_CLI_EXIT_CODE_H_
