// The pages that show runs: report.html of one, and an overlay of several.
//
//   TRIB_ASSIGN_OR_RETURN(const std::string html, report::RunReport("build/runs/compass"));
//   TRIB_RETURN_IF_ERROR(report::WritePage(html, "build/runs/compass/report.html"));
//
// Pure functions of the files: the same files give the same page. docs/reports.md says what each
// chart shows. All are thread-safe.
#ifndef TRIBUTARY_SIMULATOR_REPORT_REPORT_H_
#define TRIBUTARY_SIMULATOR_REPORT_REPORT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"

namespace tributary::report {

// How much of a large run goes into its page, which says so where it leaves something out.
struct ReportLimits {
  size_t clients = 500;     // rows of the timeline and of the table, evenly over the speeds
  size_t orders = 20000;    // in the timeline: fewer clients are shown rather than parts of them
  size_t versions = 2000;   // points of a line
  size_t estimates = 5000;  // points of the speed estimates
  size_t histogram_bins = 40;
};

// The page of the run in `dir`: summary.json, and metrics.csv, events.jsonl, fleet.json where they
// are there. NotFound: no summary.json. InvalidArgument: a file that no run writes, with its line.
// FailedPrecondition: this build has no pages.
absl::StatusOr<std::string> RunReport(const std::string& dir);
// What that page shows, as the script in web/ reads it.
absl::StatusOr<nlohmann::json> RunReportData(const std::string& dir,
                                             const ReportLimits& limits = {});

// One page for the runs in `dirs` (at least one): summary.json, and metrics.csv and events.jsonl
// where they are there. Errors as above.
absl::StatusOr<std::string> ComparisonPage(absl::Span<const std::string> dirs);
absl::StatusOr<nlohmann::json> ComparisonPageData(absl::Span<const std::string> dirs,
                                                  const ReportLimits& limits = {});

// Writes a page. PermissionDenied: cannot be written.
absl::Status WritePage(absl::string_view html, const std::string& path);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_REPORT_H_
