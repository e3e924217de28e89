// `tributary compare DIR…`: several runs, side by side.
#ifndef TRIBUTARY_SERVER_OPERATOR_COMPARE_H_
#define TRIBUTARY_SERVER_OPERATOR_COMPARE_H_

#include <string>
#include <vector>

#include "server/operator/console.h"

namespace tributary::op {

// One table of the runs, then one for each target accuracy that any of them lists: when it was
// first reached, in versions, time and uplink bytes, and the ratio to the first directory. Where
// runs differ in their seed only, the tables after the first have a line for each group of such:
// the median, the range, and the ratio of medians to the first group. As JSON: simulator/report's
// Compare.
// `page`: also writes the overlay page there; empty: none.
ExitCode CompareRuns(const Console& console, const std::vector<std::string>& directories,
                     const std::string& page);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_COMPARE_H_
