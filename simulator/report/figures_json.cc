#include "simulator/report/figures_json.h"

#include <utility>

namespace tributary::report {

nlohmann::json MetricsJson(const MetricsTable& table, size_t limit) {
  nlohmann::json rows = nlohmann::json::array();
  for (const size_t i : Thinned(table.rows.size(), limit)) {
    nlohmann::json row = nlohmann::json::array();
    for (const auto& value : table.rows[i]) row.push_back(OrNull(value));
    rows.push_back(std::move(row));
  }
  return {{"columns", table.columns}, {"rows", std::move(rows)}};
}

}  // namespace tributary::report
