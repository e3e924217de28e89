#include "server/operator/report_command.h"

#include "absl/strings/str_cat.h"
#include "simulator/report/report.h"

namespace tributary::op {

ExitCode ReportRun(const Console& console, const std::string& directory, const std::string& path) {
  const std::string file = path.empty() ? absl::StrCat(directory, "/report.html") : path;
  const auto html = report::RunReport(directory);
  if (!html.ok()) return console.Fail(html.status(), ExitCode::kFailed);
  const absl::Status written = report::WritePage(*html, file);
  if (!written.ok()) return console.Fail(written, ExitCode::kFailed);
  if (console.json) {
    console.PrintJson({{"report", file}});
  } else {
    console.out << file << "\n";
  }
  return ExitCode::kDone;
}

}  // namespace tributary::op
