// Which of several runs are repetitions of one experiment with other seeds.
#ifndef TRIBUTARY_SIMULATOR_REPORT_RUN_GROUPS_H_
#define TRIBUTARY_SIMULATOR_REPORT_RUN_GROUPS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace tributary::report {

struct RunGroup {
  std::string label;         // the job's name; the first folder if two groups have the same
  std::vector<size_t> runs;  // indices into the folders, ascending
};

// Two runs are of one group if the first lines of their events.jsonl have the same `job` (and the
// same `simulation`, where a run says it) but for the seed, and if their seeds differ: a second run
// with the same job and seed was made in another world, and begins a group of its own. A folder
// without events.jsonl is a group of its own. Groups are in order of their first runs.
// NotFound, InvalidArgument: a folder's summary.json or events.jsonl is not one.
absl::StatusOr<std::vector<RunGroup>> GroupRuns(absl::Span<const std::string> dirs);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_RUN_GROUPS_H_
