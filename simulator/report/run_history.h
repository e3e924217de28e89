// RunHistory: what happened in a run, read from its events.jsonl: the work orders, when clients
// were there, and the published versions. Times are seconds since the first line that has one.
#ifndef TRIBUTARY_SIMULATOR_REPORT_RUN_HISTORY_H_
#define TRIBUTARY_SIMULATOR_REPORT_RUN_HISTORY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ids.h"
#include "nlohmann/json.hpp"

namespace tributary::report {

struct Interval {
  double from = 0;
  double to = 0;
  bool operator==(const Interval&) const = default;
};

// One order to train.
struct OrderSpan {
  enum class End { kRunning, kArrived, kLost };

  WorkOrderId id = 0;
  size_t client = 0;  // index into RunHistory::clients
  GroupId group = 0;
  int64_t local_steps = 0;  // as reported, else as ordered; 0: neither is known
  double from = 0;          // dispatched
  double to = 0;            // arrived, lost, or the end of the run
  std::optional<double> deadline;
  std::optional<double> expected;  // when the scheduler thought the update would arrive
  End end = End::kRunning;

  bool late() const { return end == End::kArrived && deadline && to > *deadline; }
};

struct ClientHistory {
  std::string id;
  std::vector<size_t> orders;     // indices into RunHistory::orders, in time
  std::vector<Interval> present;  // from the first check-in to its leaving, or to the end
  int64_t applied = 0;            // updates that went into a version
  int64_t staleness_sum = 0;      // of these
};

struct Publication {
  double at = 0;
  Version version = 0;
  GroupId group = 0;
  int64_t updates = 0;
};

struct RunHistory {
  nlohmann::json header;               // the first line: {"job": …}
  std::vector<ClientHistory> clients;  // that trained or could have, in order of appearance
  std::vector<OrderSpan> orders;       // in order of dispatch
  std::vector<Publication> publications;
  std::map<int64_t, int64_t> staleness;    // staleness -> updates that were applied with it
  std::map<int64_t, int64_t> local_steps;  // steps -> updates that arrived with so many
  std::map<std::string, int64_t> lost;     // cause -> orders
  double seconds = 0;                      // the last line's time
};

// Reads line by line. NotFound: cannot be read. InvalidArgument, "<path>:<line>: …": a line that
// is no JSON object, or a member that is missing or of a wrong type. Lines of kinds that a report
// does not need are skipped.
absl::StatusOr<RunHistory> ReadHistory(const std::string& path);

// The first line alone.
absl::StatusOr<nlohmann::json> ReadHistoryHeader(const std::string& path);

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_RUN_HISTORY_H_
