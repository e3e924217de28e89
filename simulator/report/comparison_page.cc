#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "simulator/report/comparison.h"
#include "simulator/report/figures_json.h"
#include "simulator/report/median_curve.h"
#include "simulator/report/metrics_table.h"
#include "simulator/report/page.h"
#include "simulator/report/report.h"
#include "simulator/report/run_groups.h"

namespace tributary::report {
namespace {

using Json = nlohmann::json;

Json CurveJson(const Curve& curve) {
  Json points = Json::array();
  for (const auto& [x, y] : curve) points.push_back({x, y});
  return points;
}

// {"accuracy": {"virtual_seconds": [[x, y]], …}, "loss": …}: medians over the group's runs.
Json MediansJson(const RunGroup& group, const std::vector<MetricsTable>& metrics, size_t points) {
  Json medians = Json::object();
  for (const char* y : {"accuracy", "loss"}) {
    for (const char* x : {"virtual_seconds", "version", "uplink_bytes"}) {
      std::vector<Curve> curves;
      for (const size_t i : group.runs) curves.push_back(CurveOf(metrics[i], x, y));
      medians[y][x] = CurveJson(MedianCurve(curves, points));
    }
  }
  return medians;
}

}  // namespace

absl::StatusOr<Json> ComparisonPageData(absl::Span<const std::string> dirs,
                                        const ReportLimits& limits) {
  TRIB_ASSIGN_OR_RETURN(Json data, Compare(dirs));
  TRIB_ASSIGN_OR_RETURN(const std::vector<RunGroup> groups, GroupRuns(dirs));
  // The limit is for one run's lines; here all of them share it.
  const size_t points = std::max<size_t>(limits.versions / dirs.size(), 100);
  std::vector<MetricsTable> metrics;
  for (size_t i = 0; i < dirs.size(); ++i) {
    TRIB_ASSIGN_OR_RETURN(MetricsTable table, ReadMetrics(absl::StrCat(dirs[i], "/metrics.csv")));
    data["runs"][i]["metrics"] = MetricsJson(table, points);
    metrics.push_back(std::move(table));
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    data["groups"][g]["medians"] = MediansJson(groups[g], metrics, points);
    for (const size_t i : groups[g].runs) data["runs"][i]["group"] = g;
  }
  data["kind"] = "comparison";
  return data;
}

absl::StatusOr<std::string> ComparisonPage(absl::Span<const std::string> dirs) {
  TRIB_ASSIGN_OR_RETURN(const Json data, ComparisonPageData(dirs));
  return MakePage(absl::StrCat("Comparison of ", dirs.size(), dirs.size() == 1 ? " run" : " runs"),
                  data);
}

}  // namespace tributary::report
