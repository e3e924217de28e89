// Spread: median and range of a figure over repetitions of one experiment.
#ifndef TRIBUTARY_SIMULATOR_REPORT_SPREAD_H_
#define TRIBUTARY_SIMULATOR_REPORT_SPREAD_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"

namespace tributary::report {

struct Spread {
  std::optional<double> median;  // of an even number of values: the mean of the middle two
  std::optional<double> min;
  std::optional<double> max;
  int64_t known = 0;  // values that are there
};

// A value that is not there (a target that was never reached) counts as greater than every
// other: what falls on it is nothing.
Spread SpreadOf(absl::Span<const std::optional<double>> values);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_SPREAD_H_
