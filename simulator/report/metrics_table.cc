#include "simulator/report/metrics_table.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace tributary::report {
namespace {

bool IsOfWords(absl::string_view column) { return column == "phase"; }

absl::StatusOr<MetricsTable::Row> ParseRow(absl::string_view line,
                                           const std::vector<std::string>& heading) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
  if (fields.size() != heading.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("found ", fields.size(), " fields; the heading has ", heading.size()));
  }
  MetricsTable::Row row;
  for (size_t i = 0; i < fields.size(); ++i) {
    if (IsOfWords(heading[i])) continue;
    double value = 0;
    if (fields[i].empty()) {
      row.emplace_back();
    } else if (absl::SimpleAtod(fields[i], &value) && std::isfinite(value)) {
      row.emplace_back(value);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat(heading[i], ": found '", fields[i], "'; must be a number or empty"));
    }
  }
  return row;
}

}  // namespace

std::optional<size_t> MetricsTable::Find(absl::string_view column) const {
  const auto it = std::find(columns.begin(), columns.end(), column);
  if (it == columns.end()) return std::nullopt;
  return static_cast<size_t>(it - columns.begin());
}

absl::StatusOr<MetricsTable> ReadMetrics(const std::string& path) {
  std::ifstream file(path);
  MetricsTable table;
  std::vector<std::string> heading;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (number == 1) {
      heading = absl::StrSplit(line, ',');
      std::remove_copy_if(heading.begin(), heading.end(), std::back_inserter(table.columns),
                          IsOfWords);
      continue;
    }
    auto row = ParseRow(line, heading);
    if (!row.ok()) return WithContext(row.status(), absl::StrCat(path, ":", number));
    table.rows.push_back(*std::move(row));
  }
  return table;
}

std::vector<size_t> Thinned(size_t size, size_t limit) {
  TRIB_CHECK(limit >= 2);
  const size_t kept = std::min(size, limit);
  std::vector<size_t> indices(kept);
  for (size_t i = 0; i < kept; ++i) indices[i] = kept == size ? i : i * (size - 1) / (kept - 1);
  return indices;
}

}  // namespace tributary::report
