// Connection: the calls that a client makes to its coordinator, as plain values. The seam
// between the session (what to say, when to say it again) and the wire (how it travels):
// GrpcConnection in production, MockConnection or a scripted fake in tests.
//
// Each call is one attempt. Errors are those of proto/tributary/v1/coordinator.proto:
//   Unavailable, ResourceExhausted, DeadlineExceeded, Aborted   try again after a back-off (what
//   the
//                                     transport calls Internal or Unknown is Unavailable here)
//   DataLoss                          a chunk was damaged: resume the transfer
//   Unauthenticated, PermissionDenied a person has to act
//   Cancelled                         `stop` was requested
//   anything else                     this call is wrong; repeating it changes nothing
#ifndef TRIBUTARY_CLIENT_SDK_CONNECTION_H_
#define TRIBUTARY_CLIENT_SDK_CONNECTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client_sdk/trainer.h"
#include "common/codec/error_feedback.h"
#include "common/digest.h"
#include "common/ids.h"
#include "common/params/param_layout.h"
#include "common/params/update.h"

namespace tributary::sdk {

struct ServerLimits {
  int64_t max_chunk_bytes = 1 << 20;
  absl::Duration max_wait = absl::InfiniteDuration();  // longest hold of a check-in
  std::string server_agent;                            // for people
};

enum class WorkKind { kInitialise, kTrain, kEvaluate, kExplore, kSketch };
absl::string_view WorkKindName(WorkKind kind);  // "initialise", "train", …

// What this client is to do, once.
struct WorkOrder {
  JobInfo job;
  WorkOrderId id = 0;
  WorkKind kind = WorkKind::kTrain;
  Version version = 0;  // the base (train), or the version to evaluate
  std::optional<int64_t> local_steps;
  double client_rate = 1.0;           // train: times the train section's learning rate
  std::optional<double> server_rate;  // train: of the base; the version before it is wanted too
  absl::Time deadline = absl::InfiniteFuture();  // server's clock
  uint64_t seed = 0;
  int64_t task = 0;           // whose data; the last of those that are evaluated
  int64_t tasks = 1;          // how many are evaluated, up to that one
  CollectRequest collect;     // explore, sketch
  bool sketches = false;      // tasks end with sketches
  int64_t adapter_rank = 0;   // train, of a job with adapters
  std::string lora_json;      // of such a job: LoraTerms (common/lora/lora_spec.h); else empty
  std::string codec_json;     // the job's `codec:` list, canonical JSON
  std::string downlink_json;  // its `downlink:` section; empty: versions travel whole
  ErrorFeedback error_feedback = ErrorFeedback::kOff;
  absl::Duration liveness = absl::InfiniteDuration();
};

// "Nothing to do: ask again at a moment drawn evenly from here."
struct RetryWindow {
  absl::Duration min_delay;
  absl::Duration max_delay;
};

using CheckInAnswer = std::variant<WorkOrder, RetryWindow>;

// What makes a version of a model of the one before it.
struct DeltaPart {
  Version version = 0;
  int64_t bytes = 0;
  bool operator==(const DeltaPart&) const = default;
};

struct ModelHeader {
  JobId job;
  Version version = 0;
  LayoutPtr layout;  // its digest was recomputed and compared
  Digest model_digest;
  int64_t total_bytes = 0;            // of the chunks
  std::vector<DeltaPart> deltas;      // what they carry, one after another; none: the values
  std::optional<Xxh128> mask_xxh128;  // absent: the job keeps every coordinate
  std::string mask;                   // PackMask; empty: it is the one that the client holds
};

// A piece of a byte sequence. `data` belongs to the caller for the duration of the call.
struct Chunk {
  int64_t offset = 0;  // of data's first byte in the whole sequence
  absl::string_view data;
  uint64_t xxh3 = 0;  // XXH3-64 of data
  // To be sent: keeps `data` alive while the connection holds on to it, which may be longer than
  // the call where that breaks off; released on any thread. Null: the connection copies.
  std::shared_ptr<const void> owner = nullptr;
};

struct FetchRequest {
  JobId job;
  Version version = 0;
  int64_t offset = 0;                   // first byte wanted
  std::optional<Digest> have_digest;    // of a model that the client holds
  std::optional<Version> have_version;  // with it, if the client takes deltas: which one that is
  std::optional<Xxh128> have_mask;      // of the job's mask that the client holds
};

struct ProgramRequest {
  JobId job;
  int64_t offset = 0;  // first byte wanted
};

// Takes a chunk as it arrives. An error ends the call, which returns it.
using TakeChunk = std::function<absl::Status(const Chunk& chunk)>;

// Takes a model as it arrives: one header, then chunks in order unless `unchanged`. An error
// ends the call, which returns it.
class ModelSink {
 public:
  virtual ~ModelSink() = default;
  virtual absl::Status OnHeader(const ModelHeader& header, bool unchanged) = 0;
  virtual absl::Status OnChunk(const Chunk& chunk) = 0;
};

struct UpdateHeader {
  JobId job;
  UpdateInfo info;
  Digest layout_digest;
  LayoutPtr initial_layout;  // only when initialising, else null
  int64_t total_bytes = 0;
  Xxh128 xxh128;  // of the whole payload
};

// The next chunk to send, nothing at the end.
using ChunkSource = std::function<std::optional<Chunk>()>;

struct UploadAnswer {
  enum class State { kPartial, kAccepted, kRefused, kRetry };
  State state = State::kPartial;
  int64_t durable_bytes = 0;  // kPartial: send the rest from here on
  std::string refusal;        // kRefused: the cause, "not_finite", …
  std::string message;        // kRefused, kRetry: for people
  RetryWindow retry = {};     // kRetry: no room now; when to ask again
};

struct EvaluationReport {
  JobId job;
  WorkOrderId work_order = 0;
  Version version = 0;
  EvalResult result;
  std::vector<EvalResult> tasks;  // where several were asked for; `result` is then the last one's
};

struct EvaluationAnswer {
  bool counted = false;
  std::string message;  // why not, for people
};

struct ProgressReport {
  JobId job;
  WorkOrderId work_order = 0;
  int64_t steps_done = 0;
  int64_t steps_total = 0;  // 0: not known
};

enum class AbandonReason { kOther, kStopped, kTrainerFailed, kTooLate, kNotAllowed, kDiverged };

struct AbandonNotice {
  JobId job;
  WorkOrderId work_order = 0;
  AbandonReason reason = AbandonReason::kOther;
  std::string message;
};

// Thread-safe: progress is reported while a transfer runs. Every call ends soon after `stop`
// is requested.
class Connection {
 public:
  virtual ~Connection() = default;

  // Idempotent. First call, and again after any call failed.
  virtual absl::StatusOr<ServerLimits> Enroll(std::stop_token stop) = 0;

  // Blocks for up to `max_wait` on the server's side. `task`: as Client::SetTask; what else the
  // client says of itself are its options. Safe to repeat.
  virtual absl::StatusOr<CheckInAnswer> CheckIn(absl::Duration max_wait, int64_t task,
                                                std::stop_token stop) = 0;

  // Read-only. OK: the stream came to its end; whether it was complete is the sink's to say.
  virtual absl::Status FetchModel(const FetchRequest& request, ModelSink& sink,
                                  std::stop_token stop) = 0;

  // The program of a job, in chunks in order. Read-only. OK: the stream came to its end.
  virtual absl::Status FetchProgram(const ProgramRequest& request, const TakeChunk& take,
                                    std::stop_token stop) = 0;

  // Sends the header and all that `chunks` gives. Idempotent by work order. A source that is
  // empty from the start asks how much is durable.
  virtual absl::StatusOr<UploadAnswer> UploadUpdate(const UpdateHeader& header,
                                                    const ChunkSource& chunks,
                                                    std::stop_token stop) = 0;

  // Idempotent by work order.
  virtual absl::StatusOr<EvaluationAnswer> ReportEvaluation(const EvaluationReport& report,
                                                            std::stop_token stop) = 0;

  // False: the work is no longer wanted.
  virtual absl::StatusOr<bool> ReportProgress(const ProgressReport& report,
                                              std::stop_token stop) = 0;

  // Takes no stop token: it is what a stopping client still says, and is short.
  virtual absl::Status AbandonWork(const AbandonNotice& notice) = 0;
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_CONNECTION_H_
