// The values that pass between the live host and what stands in front of it (gRPC, tests).
// No protobuf here: server/rpc translates.
#ifndef TRIBUTARY_SERVER_LIVE_LIVE_TYPES_H_
#define TRIBUTARY_SERVER_LIVE_LIVE_TYPES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/codec/error_feedback.h"
#include "common/digest.h"
#include "common/ids.h"
#include "common/params/param_vector.h"
#include "server/coordinator/events.h"
#include "server/coordinator/job_controller.h"
#include "server/live/job_files.h"
#include "server/store/model_store.h"

namespace tributary {

// Called exactly once.
template <typename T>
using Callback = absl::AnyInvocable<void(absl::StatusOr<T>)>;
using DoneCallback = absl::AnyInvocable<void(absl::Status)>;

struct LiveOptions {
  std::string data_dir;                          // for first models on their way into the store
  int64_t max_update_bytes = int64_t{16} << 30;  // whatever the job's layout says
  absl::Duration max_wait = absl::Seconds(60);
  absl::Duration grace = absl::Seconds(30);
  absl::Duration retry_min = absl::Milliseconds(200);
  absl::Duration retry_max = absl::Seconds(1);
  double check_ins_per_second = 200;  // the retry window widens to keep below it
  // A client that no job wants before some time is told to stay away until then, but at most so
  // long: a new job may want it earlier.
  absl::Duration longest_rest = absl::Hours(1);
};

struct Enrolment {
  ClientId client;
  std::string user_agent;
  bool evaluate_only = false;
};

// A work order with what the client needs to do it.
// What a client says of itself as it checks in.
struct ClientReport {
  int64_t task = 0;
  int64_t adapter_rank = 0;
  int64_t memory_bytes = 0;
  bool operator==(const ClientReport&) const = default;
};

struct WorkItem {
  JobId job;
  WorkOrder order;
  std::string job_name;
  std::string model_json, train_json, codec_json;  // sections of the canonical spec
  std::string downlink_json;                       // empty: it has none
  std::string lora_json;                           // LoraTerms; empty: it has no adapters
  ErrorFeedback error_feedback = ErrorFeedback::kOff;
  CollectRequest collect;  // explore, sketch
  bool sketches = false;   // tasks end with sketches
  absl::Duration liveness;
};
struct RetryWindow {
  absl::Duration min_delay, max_delay;
};
using CheckInAnswer = std::variant<WorkItem, RetryWindow>;

// A job's mask as it travels.
struct SentMask {
  std::string bytes;  // PackMask
  Xxh128 checksum;
};

struct UploadHeader {
  ClientId client;
  JobId job;
  UpdateInfo info;
  std::string layout_digest;  // as sent
  LayoutPtr layout;           // initialising only
  uint64_t total_bytes = 0;
  Xxh128 checksum;
};
enum class Refusal {
  kNone,
  kUnknownWorkOrder,
  kWrongLayout,
  kNotFinite,
  kBadWeight,
  kCorrupt,
  kTooLarge
};
struct UploadAnswer {
  // kRetry: there is no room now; the client keeps its update and asks again within `retry`.
  enum class State { kPartial, kAccepted, kRefused, kRetry } state = State::kPartial;
  uint64_t durable_bytes = 0;
  Refusal refusal = Refusal::kNone;
  std::string message;
  RetryWindow retry;
};

struct EvaluationReport {
  ClientId client;
  JobId job;
  Version version = 0;
  event::EvaluationArrived result;
};
struct ReportAnswer {
  bool counted = false;
  std::string message;  // why not
};

struct FilePiece {
  FileDigest file;
  uint64_t offset = 0;
  std::string data;
};

// The files that the spec names were put before.
struct Submission {
  std::string request_id;
  JobSpec spec;
  std::optional<FileDigest> initial;  // the first model; absent: a client makes it
};

// What people see of a job.
struct JobView {
  JobRecord record;
  std::string name;
  Digest config_digest;
  int64_t stop_versions = 0;  // 0: it stops at something else
  int64_t tasks = 0;          // 0: it does not go from task to task
  JobProgress progress;       // `lost` includes what the host refused by itself
  uint64_t model_bytes = 0;   // of each version; 0: there is none yet
  uint64_t uplink_bytes_dense = 0;
  // Since this process started.
  uint64_t downlink_bytes = 0;
  std::map<std::string, int64_t> put_off;  // uploads, by what was full
  int64_t disk_pauses = 0;
};

struct ClientView {
  ClientRecord record;
  std::string state;  // "idle", "working", "away"
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_LIVE_TYPES_H_
