// The command line of tributary-client.
#ifndef TRIBUTARY_CLIENT_SDK_APP_FLAGS_H_
#define TRIBUTARY_CLIENT_SDK_APP_FLAGS_H_

#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "client_sdk/client_options.h"

namespace tributary {

struct ClientFlags {
  ClientOptions options;
  std::string data;
  std::string partition;  // empty: all of the data
  bool once = false;
  absl::Duration throttle;  // at least so long per optimizer step
  std::string log_level = "info";
  std::string log_format = "text";
};

// The flags; or, when there is nothing more to do (--help, --version, a usage error, which
// is printed), the process's exit code.
std::variant<ClientFlags, int> ParseFlags(int argc, char** argv);

// "<host>-<pid>", with what an id does not allow replaced by '-'.
std::string DefaultClientId();

// The exit code for how the client ended (docs/sdk.md lists them).
int ExitCode(const absl::Status& ended, bool interrupted);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_APP_FLAGS_H_
