// FakeServer: a coordinator in memory behind the Connection seam, which can be told to fail
// at any point. It is strict: whatever a real server would refuse, it refuses.
#ifndef TRIBUTARY_TESTS_CLIENT_SDK_FAKE_SERVER_H_
#define TRIBUTARY_TESTS_CLIENT_SDK_FAKE_SERVER_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client_sdk/connection.h"
#include "common/mutex.h"
#include "common/params/param_vector.h"

namespace tributary::sdk {

// What happens to one chunk of an upload.
enum class ChunkFate {
  kStored,
  kLost,            // the connection breaks before the chunk is durable
  kStoredThenLost,  // it breaks after
  kRolledBack,      // the server restarts and has lost the chunk before this one, too
};

// Thread-safe where a heartbeat needs it, else for the client's thread alone.
class FakeServer : public Connection {
 public:
  // Script of the check-ins; afterwards there is no work.
  std::deque<absl::StatusOr<CheckInAnswer>> check_ins;
  std::deque<absl::Status> enrolments;  // afterwards OK
  RetryWindow no_work{absl::Seconds(1), absl::Seconds(2)};
  ServerLimits limits{.max_chunk_bytes = 16, .server_agent = "fake/1"};
  std::map<Version, ParamVector> models;
  std::string program;                    // of every job
  std::map<Version, std::string> deltas;  // what makes a version of the one before

  // Faults; `call` counts calls and `chunk` the chunks within one, both from 0. May be empty.
  std::function<absl::Status(int64_t call, int64_t chunk)> fetch_fault;
  std::function<void(std::string& chunk)> damage_fetch;
  std::function<void(ModelHeader& header, bool& unchanged)> edit_header;
  std::function<ChunkFate(int64_t call, int64_t chunk)> upload_fault;
  std::function<absl::Status(int64_t call)> upload_answer_fault;    // after all is durable
  std::function<std::optional<RetryWindow>(int64_t call)> put_off;  // at the header: no room
  std::optional<UploadAnswer> upload_verdict;                   // to everything; nothing is kept
  std::deque<absl::StatusOr<EvaluationAnswer>> report_answers;  // afterwards counted
  std::function<absl::StatusOr<bool>()> on_progress;            // on the heartbeat's thread

  // What arrived.
  struct Upload {
    UpdateHeader header;
    std::string payload;
    bool accepted = false;
  };
  std::map<WorkOrderId, Upload> uploads;
  std::vector<EvaluationReport> reports;
  std::vector<AbandonNotice> abandoned;
  std::vector<absl::Duration> max_waits;  // of the check-ins
  std::vector<int64_t> tasks;             // likewise
  int enrol_calls = 0;
  int64_t fetch_calls = 0;
  int64_t fetched_bytes = 0;
  std::vector<FetchRequest> fetches;
  int64_t program_calls = 0;
  int64_t upload_calls = 0;
  int64_t sent_bytes = 0;  // of payload, as the client sent them

  std::vector<ProgressReport> progress() const;

  absl::StatusOr<ServerLimits> Enroll(std::stop_token stop) override;
  absl::StatusOr<CheckInAnswer> CheckIn(absl::Duration max_wait, int64_t task,
                                        std::stop_token stop) override;
  absl::Status FetchModel(const FetchRequest& request, ModelSink& sink,
                          std::stop_token stop) override;
  absl::Status FetchProgram(const ProgramRequest& request, const TakeChunk& take,
                            std::stop_token stop) override;
  absl::StatusOr<UploadAnswer> UploadUpdate(const UpdateHeader& header, const ChunkSource& chunks,
                                            std::stop_token stop) override;
  absl::StatusOr<EvaluationAnswer> ReportEvaluation(const EvaluationReport& report,
                                                    std::stop_token stop) override;
  absl::StatusOr<bool> ReportProgress(const ProgressReport& report, std::stop_token stop) override;
  absl::Status AbandonWork(const AbandonNotice& notice) override;

 private:
  // The bytes from `offset` on, with the faults of call number `call`.
  absl::Status SendChunks(absl::string_view bytes, int64_t offset, int64_t call,
                          const TakeChunk& take, const std::stop_token& stop);
  // Those from the version that the client holds, if all are there; they go into the header.
  std::string DeltasFor(const FetchRequest& request, ModelHeader& header) const;
  absl::Status StoreChunk(Upload& upload, const Chunk& chunk, int64_t index);

  mutable Mutex mu_;
  std::vector<ProgressReport> progress_ ABSL_GUARDED_BY(mu_);
};

// An order of job "job-1".
WorkOrder MakeOrder(WorkKind kind, WorkOrderId id, Version version = 0, uint64_t seed = 1);

}  // namespace tributary::sdk

#endif  // TRIBUTARY_TESTS_CLIENT_SDK_FAKE_SERVER_H_
