#include "common/cli/format.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace tributary::cli {

std::string FormatTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      absl::StrAppend(&line, i == 0 ? "" : "  ", absl::StrFormat("%-*s", widths[i], row[i]));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  return text;
}

std::string FormatBytes(double bytes) {
  constexpr std::array<absl::string_view, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (bytes >= 999.95 && unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return absl::StrFormat("%.*f %s", unit == 0 ? 0 : 1, bytes, kUnits[unit]);
}

std::string FormatSeconds(absl::Duration length) {
  const int64_t seconds = absl::ToInt64Seconds(length + absl::Milliseconds(500));
  if (seconds < 60) return absl::StrFormat("%d s", seconds);
  if (seconds < 3600) return absl::StrFormat("%d min %02d s", seconds / 60, seconds % 60);
  return absl::StrFormat("%d h %02d min", seconds / 3600, seconds / 60 % 60);
}

std::string FormatPercent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

std::string FormatPhase(const PhaseView& view) {
  const auto collecting = [&view](absl::string_view what) {
    return absl::StrCat("collecting ", what, " (", view.contributions, " of ",
                        view.contributions_asked, ")");
  };
  std::vector<std::string> parts;
  if (view.tasks > 0) parts.push_back(absl::StrCat("task ", view.task + 1, " of ", view.tasks));
  if (view.phase == "initialise") parts.emplace_back("waiting for its first model");
  if (view.phase == "explore") parts.push_back(collecting("explorations"));
  if (view.phase == "train") parts.emplace_back("training");
  if (view.phase == "end_task") parts.emplace_back("ending the task");
  if (view.phase == "sketch") parts.push_back(collecting("sketches"));
  return parts.empty() ? "-" : absl::StrJoin(parts, ", ");
}

}  // namespace tributary::cli
