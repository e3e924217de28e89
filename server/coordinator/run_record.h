// A run as lines of JSON: events.jsonl, which `tributary-sim replay` reads, and the journal of a
// live job.
//
//   {"job": …, "initial_model": false, "started_at": …}       events.jsonl only: the first line
//   {"at": …, "event": "update_arrived", …, "digest": "…"}    the digest: of live runs
//   {"at": …, "action": "publish_version", …}                 events.jsonl only: what was decided
//
// A live job's journal has no actions: they follow from the events. Its digests tell whether they
// still do.
#ifndef TRIBUTARY_SERVER_COORDINATOR_RUN_RECORD_H_
#define TRIBUTARY_SERVER_COORDINATOR_RUN_RECORD_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/digest.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/events.h"
#include "server/coordinator/job_spec.h"

namespace tributary {

// The files of keep_updates, in a folder of their own: version 0, and the payload of each accepted
// update as it travelled.
inline constexpr char kFirstModelFile[] = "initial.safetensors";
std::string UpdateFile(WorkOrderId work_order);  // "7.update"

// One line without its end. What is not UTF-8 is replaced: it comes from clients.
std::string ToLine(const nlohmann::json& json);

// `started_at`: what JobController::Start was told.
nlohmann::json FirstLine(const JobSpec& job, absl::Time started_at);

// The digest of a run so far: XXH3-64 over the lines of all its events (without their digests)
// and of what was decided on each. Equal digests: the same events, the same decisions. It guards
// against damage and against code that decides otherwise, not against an adversary.
class RunDigest {
 public:
  // 16 hexadecimal digits.
  std::string Add(const JobEvent& event, const std::vector<JobAction>& actions);

 private:
  Xxh3Stream hash_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_RUN_RECORD_H_
