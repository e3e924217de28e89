// Session: what a client says to its coordinator, in which order, and what it does about the
// answers. One thread, plus a heartbeat while there is work.
//
//   Enroll -> CheckIn -> retry window: sleep, check in again
//                     -> initialise:   make a model            -> upload it whole
//                     -> train:        fetch, train a copy     -> upload the difference
//                     -> evaluate:     fetch, evaluate         -> report
//                     -> explore:      fetch, train a copy     -> upload squared deviations
//                     -> sketch:       fetch, run the layers   -> upload sketches of their inputs
//          <- any call failed: back off, enroll again
//
// The encoded difference goes into the outbox before its upload and leaves it by the server's word
// alone: one that is still there after the upload broke off, in this process or in one before, is
// settled before the next check-in. What it leaves out becomes the job's residual when it is
// accepted, and not otherwise.
//
// The seeds are fixed, so that a simulated client does the same to the bit: training gets
// Rng(order.seed), the codec Rng(order.seed).Split("codec"), InitialModel order.seed.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_SESSION_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_SESSION_H_

#include <atomic>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/client_options.h"
#include "client_sdk/connection.h"
#include "client_sdk/internal/heartbeat.h"
#include "client_sdk/internal/model_cache.h"
#include "client_sdk/internal/outbox.h"
#include "client_sdk/internal/program_cache.h"
#include "client_sdk/internal/residual_store.h"
#include "client_sdk/internal/retry.h"
#include "client_sdk/internal/uploader.h"
#include "client_sdk/trainer.h"
#include "common/clock.h"
#include "common/codec/codec.h"
#include "common/codec/version_delta.h"
#include "common/rng.h"

namespace tributary::sdk {

// The codec that a work order names; empty text is raw. InvalidArgument.
absl::StatusOr<std::unique_ptr<const Codec>> ParseCodec(const std::string& codec_json,
                                                        bool error_feedback = false);

// How versions follow each other, as a work order says; null for empty text: they travel whole.
// InvalidArgument.
absl::StatusOr<std::unique_ptr<const VersionDelta>> ParseDownlink(const std::string& downlink_json,
                                                                  const std::string& lora_json);

// Thread-compatible; SetTask may be called meanwhile.
class Session {
 public:
  // All but `options` are not owned and outlive the session.
  Session(const ClientOptions& options, Trainer* trainer, Connection* connection, Clock* clock,
          std::stop_token stop);

  // As Client::Run and Client::RunOnce, but Cancelled when stopped.
  absl::Status Run();
  absl::Status RunOnce();

  void SetTask(int64_t task) { task_ = task; }

 private:
  // One work order being worked on.
  struct Work {
    const WorkOrder& order;
    std::stop_token stop;
    Heartbeat* heartbeat;
    // If it fails: why it is given back, and whether it needs to be.
    AbandonReason reason = AbandonReason::kOther;
    bool refused = false;
  };

  absl::Status Loop(absl::Duration idle_limit);
  void RemoveOldState() const;
  absl::Status EnrollIfNeeded();
  absl::StatusOr<CheckInAnswer> AskForWork(absl::Duration max_wait);
  // After a failure to get an answer: OK to ask again, else what to end with.
  absl::Status Reconnect(const absl::Status& failure);
  absl::Status NoWork(absl::Duration limit) const;
  absl::Status Unreachable(absl::Duration limit) const;

  // True: counted; false: the server withdrew the order; or why it came to nothing.
  absl::StatusOr<bool> Perform(WorkOrder order);
  absl::StatusOr<bool> GiveBack(const Work& work, const absl::Status& failure);
  // Finishes what is in the outbox. True: counted; false: not; or why the server did not say.
  absl::StatusOr<bool> SettleOutbox();

  // The program of the job, into it, if its model is one and the client may run it.
  absl::Status BringProgram(Work& work, JobInfo& job);
  absl::Status Do(Work& work);
  // Of a job whose tasks end with sketches: the trainer can make them.
  absl::Status CheckSketches(Work& work);
  absl::Status Initialise(Work& work);
  absl::Status Train(Work& work);
  absl::Status TrainAdapter(Work& work, const Codec& codec, const TrainTask& task,
                            std::shared_ptr<const ParamVector> base);
  absl::Status Evaluate(Work& work);
  absl::Status Explore(Work& work);
  absl::Status SketchInputs(Work& work);
  CollectTask CollectTaskOf(const Work& work) const;
  // For a trainer's task; lives no longer than the work.
  std::function<void(int64_t, int64_t)> Progress(const Work& work) const;
  // As an update without a codec: it is settled like one.
  absl::Status SendContribution(Work& work, UpdateInfo info, ParamVector contribution);
  absl::StatusOr<std::shared_ptr<const ParamVector>> FetchModel(Work& work, Version version);
  // That came with the model fetched last; null: the job keeps every coordinate.
  std::shared_ptr<const Mask> MaskOf(const JobId& job) const;
  // Into the outbox, and on to the server. `layout`: of what was encoded.
  absl::Status SendUpdate(Work& work, const TrainResult& result, const LayoutPtr& layout,
                          EncodedUpdate encoded);
  absl::Status SendOutbox(Work& work, bool resume);
  absl::StatusOr<UploadAnswer> UploadPayload(const Work& work, UpdateHeader header,
                                             absl::string_view payload,
                                             std::shared_ptr<const void> owner,
                                             bool resume = false);
  // OK: accepted; else the refusal.
  absl::Status Judge(Work& work, const UploadAnswer& answer) const;

  Retry NewRetry(const Work& work, absl::string_view name) const;
  TransferOptions Transfer(const Work& work, ClientEvent::Kind kind) const;
  void Emit(ClientEvent::Kind kind, const WorkOrder* order = nullptr, std::string message = "",
            int64_t done = 0, int64_t total = 0) const;

  // Constant after construction.
  const ClientOptions& options_;
  Trainer* const trainer_;
  Connection* const connection_;
  Clock* const clock_;
  const std::stop_token stop_;

  std::atomic<int64_t> task_ = 0;

  Rng rng_;
  ModelCache cache_;
  ProgramCache programs_;
  ResidualStore residuals_;
  Outbox outbox_;
  Retry reconnect_;
  Retry after_failed_work_;
  bool once_ = false;
  bool enrolled_ = false;  // and no call failed since
  bool ever_enrolled_ = false;
  absl::Status last_failure_;  // to reach the server
  ServerLimits limits_;
  absl::Time idle_since_;  // end of the last work, or start
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_SESSION_H_
