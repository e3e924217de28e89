// `tributary compare DIR…`: the summary.json of several runs, side by side.
#ifndef TRIBUTARY_SERVER_OPERATOR_COMPARE_H_
#define TRIBUTARY_SERVER_OPERATOR_COMPARE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "server/operator/console.h"

namespace tributary::op {

// One table of the runs, then one for each target accuracy that any of them lists: when it was
// first reached, in versions, time and uplink bytes, and the ratio to the first directory.
ExitCode CompareRuns(const Console& console, const std::vector<std::string>& directories);

// The figures behind it:
//   {"runs": [{"dir", "name", "accuracy", "loss", "best_accuracy", "versions", "updates",
//   "seconds",
//              "uplink_bytes", "downlink_bytes", "accuracy_difference", "seconds_ratio",
//              "uplink_bytes_ratio", …}],
//    "targets": [{"accuracy", "runs": [{"dir", "version", "seconds", "uplink_bytes", and
//    ratios}]}]}
// Seconds are virtual where a run has them, else wall. What a run does not have, or a ratio to
// nothing, is null. NotFound: no summary.json. InvalidArgument: not one that a run writes.
absl::StatusOr<nlohmann::json> Compare(const std::vector<std::string>& directories);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_COMPARE_H_
