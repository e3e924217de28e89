// Console: where the tool's words go, and in which form.
#ifndef TRIBUTARY_SERVER_OPERATOR_CONSOLE_H_
#define TRIBUTARY_SERVER_OPERATOR_CONSOLE_H_

#include <ostream>

#include "absl/status/status.h"
#include "common/cli/exit_code.h"
#include "common/clock.h"
#include "nlohmann/json.hpp"

namespace tributary::op {

using cli::ExitCode;

// Everything a command writes to or reads time from. `out` gets data, `err` errors and remarks.
struct Console {
  std::ostream& out;
  std::ostream& err;
  Clock& clock;
  bool json = false;      // data as JSON
  bool terminal = false;  // `out` is a person's terminal: progress may redraw a line

  // Prints "error: <message>" and returns the code for it.
  ExitCode Fail(const absl::Status& status) const;
  ExitCode Fail(const absl::Status& status, ExitCode code) const;
  // One line, or indented when a person reads it.
  void PrintJson(const nlohmann::json& value) const;
};

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_CONSOLE_H_
