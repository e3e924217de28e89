// Figures as the pages' script reads them.
#ifndef TRIBUTARY_SIMULATOR_REPORT_FIGURES_JSON_H_
#define TRIBUTARY_SIMULATOR_REPORT_FIGURES_JSON_H_

#include <optional>

#include "nlohmann/json.hpp"
#include "simulator/report/metrics_table.h"
#include "simulator/report/spread.h"

namespace tributary::report {

template <typename T>
nlohmann::json OrNull(const std::optional<T>& value) {
  return value ? nlohmann::json(*value) : nlohmann::json();
}

// {"median", "min", "max"}, each a number or null.
inline nlohmann::json SpreadJson(const Spread& spread) {
  return {
      {"median", OrNull(spread.median)}, {"min", OrNull(spread.min)}, {"max", OrNull(spread.max)}};
}

// {"columns": [name], "rows": [[number or null]]}, of at most `limit` rows.
nlohmann::json MetricsJson(const MetricsTable& table, size_t limit);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_FIGURES_JSON_H_
