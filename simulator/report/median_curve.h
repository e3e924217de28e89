// Curves of a figure over a run, and the median of several.
#ifndef TRIBUTARY_SIMULATOR_REPORT_MEDIAN_CURVE_H_
#define TRIBUTARY_SIMULATOR_REPORT_MEDIAN_CURVE_H_

#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "simulator/report/metrics_table.h"

namespace tributary::report {

using Curve = std::vector<std::pair<double, double>>;  // (x, y); x ascends

// The rows that have both columns; empty if the table has not.
Curve CurveOf(const MetricsTable& table, absl::string_view x, absl::string_view y);

// The median of the curves, each with straight lines between its points, at no more than `points`
// of their x. From where the last of them begins to where the first of them ends, so that it is
// always of all. Empty if one of them is.
Curve MedianCurve(absl::Span<const Curve> curves, size_t points);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_MEDIAN_CURVE_H_
