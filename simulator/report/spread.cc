#include "simulator/report/spread.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace tributary::report {

Spread SpreadOf(absl::Span<const std::optional<double>> values) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  if (values.empty()) return {};
  std::vector<double> sorted;
  Spread spread;
  for (const auto& value : values) {
    sorted.push_back(value.value_or(kNever));
    if (value) ++spread.known;
  }
  std::sort(sorted.begin(), sorted.end());
  const auto known = [](double value) {
    return std::isfinite(value) ? std::optional<double>(value) : std::nullopt;
  };
  const size_t size = sorted.size();
  spread.median = known((sorted[(size - 1) / 2] + sorted[size / 2]) / 2);
  spread.min = known(sorted.front());
  spread.max = known(sorted.back());
  return spread;
}

}  // namespace tributary::report
