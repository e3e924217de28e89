// Replay: feeds a recorded list of events to a fresh JobController and compares what it
// decides with what was recorded.
#ifndef TRIBUTARY_SIMULATOR_REPLAY_H_
#define TRIBUTARY_SIMULATOR_REPLAY_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace tributary {

struct ReplayResult {
  int64_t events = 0;
  int64_t actions = 0;
  int64_t versions = 0;
};

// `path` is an events.jsonl. InvalidArgument: not such a file, with the line. DataLoss: the
// decisions differ, with the line and both decisions.
absl::StatusOr<ReplayResult> Replay(const std::string& path);

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_REPLAY_H_
