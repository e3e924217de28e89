#include "server/operator/console.h"

namespace tributary::op {

ExitCode Console::Fail(const absl::Status& status) const {
  return Fail(status, cli::ExitCodeOf(status));
}

ExitCode Console::Fail(const absl::Status& status, ExitCode code) const {
  err << "error: " << status.message() << "\n";
  return code;
}

void Console::PrintJson(const nlohmann::json& value) const {
  out << value.dump(terminal ? 2 : -1) << "\n";
}

}  // namespace tributary::op
