#include "simulator/report/median_curve.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>

#include "simulator/report/spread.h"

namespace tributary::report {
namespace {

// The curve at x, which is between its ends.
double ValueAt(const Curve& curve, double x) {
  const auto after = std::upper_bound(
      curve.begin(), curve.end(), x,
      [](double at, const std::pair<double, double>& point) { return at < point.first; });
  const auto before = std::prev(after);
  if (after == curve.end()) return before->second;
  const double share = (x - before->first) / (after->first - before->first);
  return before->second + share * (after->second - before->second);
}

}  // namespace

Curve CurveOf(const MetricsTable& table, absl::string_view x, absl::string_view y) {
  const auto x_column = table.Find(x), y_column = table.Find(y);
  Curve curve;
  if (!x_column || !y_column) return curve;
  for (const MetricsTable::Row& row : table.rows) {
    if (row[*x_column] && row[*y_column]) curve.emplace_back(*row[*x_column], *row[*y_column]);
  }
  std::stable_sort(curve.begin(), curve.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  return curve;
}

Curve MedianCurve(absl::Span<const Curve> curves, size_t points) {
  double first = -std::numeric_limits<double>::infinity();
  double last = std::numeric_limits<double>::infinity();
  std::set<double> all;
  for (const Curve& curve : curves) {
    if (curve.empty()) return {};
    first = std::max(first, curve.front().first);
    last = std::min(last, curve.back().first);
    for (const auto& [x, y] : curve) all.insert(x);
  }
  if (first > last) return {};
  const std::vector<double> shared(all.lower_bound(first), all.upper_bound(last));
  Curve median;
  for (const size_t i : Thinned(shared.size(), points)) {
    std::vector<std::optional<double>> values;
    for (const Curve& curve : curves) values.emplace_back(ValueAt(curve, shared[i]));
    median.emplace_back(shared[i], *SpreadOf(values).median);
  }
  return median;
}

}  // namespace tributary::report
