// Compare: the summary.json of several runs, side by side.
#ifndef TRIBUTARY_SIMULATOR_REPORT_COMPARISON_H_
#define TRIBUTARY_SIMULATOR_REPORT_COMPARISON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"

namespace tributary::report {

// The figures of the runs in `dirs` (at least one), of the groups of runs that differ in their
// seed only (run_groups.h), and for each target accuracy that any run lists, when it was first
// reached:
//
//   {"runs":    [{"dir", "name", "seed", FIGURES, "accuracy_difference", RATIOS}],
//    "groups":  [{"label", "dirs", FIGURES as SPREADS, RATIOS}],
//    "targets": [{"accuracy",
//                 "runs":   [{"dir", "version", "seconds", "uplink_bytes", RATIOS}],
//                 "groups": [{"label", "of", "reached", "version", "seconds", "uplink_bytes" as
//                             SPREADS, RATIOS}]}]}
//
// FIGURES: "accuracy", "best_accuracy", "loss", "versions", "updates", "seconds", "uplink_bytes",
// "downlink_bytes". Seconds are virtual where a run has them, else wall.
// RATIOS: "<figure>_ratio" to the first run, and of medians to the first group.
// SPREADS: {"median", "min", "max"}; a run that never reached a target counts as later than all
// others. "of" is the group's number of runs, "reached" how many of them reached the target.
// What a run does not have, or a ratio to nothing, is null.
// NotFound: no summary.json. InvalidArgument: not one that a run writes.
absl::StatusOr<nlohmann::json> Compare(absl::Span<const std::string> dirs);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_COMPARISON_H_
