// The command line of the `tributary` tool: parses it and runs one command.
#ifndef TRIBUTARY_SERVER_OPERATOR_TOOL_H_
#define TRIBUTARY_SERVER_OPERATOR_TOOL_H_

#include "server/operator/console.h"

namespace tributary::op {

// `console.json` is set by --json. Returns kUsage, after a message, for a line that it cannot read.
ExitCode RunTool(int argc, const char* const* argv, Console& console);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_TOOL_H_
