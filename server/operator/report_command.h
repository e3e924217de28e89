// `tributary report DIR`: the page of one run.
#ifndef TRIBUTARY_SERVER_OPERATOR_REPORT_COMMAND_H_
#define TRIBUTARY_SERVER_OPERATOR_REPORT_COMMAND_H_

#include <string>

#include "server/operator/console.h"

namespace tributary::op {

// Writes the page of the run in `directory` to `path`, or to report.html in that directory if it
// is empty, and prints where it is: {"report": path} as JSON.
ExitCode ReportRun(const Console& console, const std::string& directory, const std::string& path);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_REPORT_COMMAND_H_
