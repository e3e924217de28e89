// Replay: feeds a recorded run, simulated or live, to a fresh JobController and compares what it
// decides with what was recorded; where the run's updates were kept, makes its models again.
#ifndef TRIBUTARY_SIMULATOR_REPLAY_H_
#define TRIBUTARY_SIMULATOR_REPLAY_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/digest.h"

namespace tributary {

struct ReplayResult {
  int64_t events = 0;
  int64_t actions = 0;
  int64_t versions = 0;
  std::optional<Digest> model_digest;  // of the last version; absent: no updates were given
};

// `path`: an events.jsonl, or a folder that has one. `updates`: the folder of keep_updates; empty:
// the one beside the events, if `path` is a folder and has it. Errors:
//   NotFound           a file that cannot be read; an update that was not kept
//   InvalidArgument    not such a file; names the line
//   DataLoss           an event, a decision or a model that is not the recorded one: names the
//                      line; an update that is not the one that arrived: names its work order
absl::StatusOr<ReplayResult> Replay(const std::string& path, const std::string& updates = "");

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_REPLAY_H_
