// MetricsTable: the figures of a run's metrics.csv, a row for each published version. Its column of
// words, phase, is left out.
#ifndef TRIBUTARY_SIMULATOR_REPORT_METRICS_TABLE_H_
#define TRIBUTARY_SIMULATOR_REPORT_METRICS_TABLE_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace tributary::report {

struct MetricsTable {
  using Row = std::vector<std::optional<double>>;  // [columns]; nothing: an empty field

  std::vector<std::string> columns;  // of figures
  std::vector<Row> rows;

  std::optional<size_t> Find(absl::string_view column) const;
};

// Empty if there is no such file. InvalidArgument, "<path>:<line>: …": a row of another length,
// or a field that is no finite number.
absl::StatusOr<MetricsTable> ReadMetrics(const std::string& path);

// At most `limit` (at least 2) of `size` things, evenly: their indices, ascending, the first and
// the last among them.
std::vector<size_t> Thinned(size_t size, size_t limit);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_METRICS_TABLE_H_
