// LiveJob: what the live host knows of one job beside its controller.
#ifndef TRIBUTARY_SERVER_LIVE_LIVE_JOB_H_
#define TRIBUTARY_SERVER_LIVE_LIVE_JOB_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "server/coordinator/job_controller.h"
#include "server/coordinator/job_executor.h"
#include "server/coordinator/run_record.h"
#include "server/live/event_loop.h"
#include "server/live/live_types.h"
#include "server/live/upload_stream.h"

namespace tributary {

// A publication that the controller has asked for and not been answered.
using PendingPublication =
    std::variant<std::monostate, action::InstallModel, action::PublishVersion>;

// A work order that is out.
struct LiveOrder {
  WorkOrder order;
  bool durable = false;     // its decision is: it may be given
  bool given = false;       // in the answer to a check-in (by this process)
  bool confirmed = false;   // the client has shown that it has it
  absl::Time last_sign;     // of life
  absl::Duration patience;  // how long it may be silent
  EventLoop::TimerId timer = 0;
  std::shared_ptr<UploadStream> upload;  // the newest stream; null: none yet
};

struct LiveJob {
  JobRecord record;
  std::string model_json, train_json, codec_json;      // of the spec, by FillSections
  std::string downlink_json;                           // empty: it has none
  std::string lora_json;                               // LoraTerms; empty: it has no adapters
  bool sketches = false;                               // its tasks end with sketches
  ErrorFeedback error_feedback = ErrorFeedback::kOff;  // of the spec, with the executor
  std::unique_ptr<JobController> controller;
  size_t journal_lines = 0;  // appended; the newest may not be durable yet
  RunDigest digest;          // of all that the controller was told and answered
  // Belongs to the numerics lane; shared with the tasks that stand there.
  std::shared_ptr<JobExecutor> executor;
  LayoutPtr layout;  // null until version 0
  // What clients are asked for; as the executor's, since version 0.
  std::map<CollectKind, CollectRequest> collections;
  // Likewise; null: nothing is pruned.
  std::shared_ptr<const Mask> mask;
  std::shared_ptr<const SentMask> sent_mask;
  // Both, from the newest version's.
  void SetMask(std::shared_ptr<const Mask> newest);
  // With adapters; as the executor's, since version 0.
  std::shared_ptr<const LoraPlan> adapters;
  // Of what a client with such an order uploads.
  LayoutPtr LayoutFor(const WorkOrder& order) const {
    const auto collects = CollectKindOf(order.kind);
    if (collects) return collections.at(*collects).layout;
    if (adapters == nullptr || order.kind != WorkKind::kTrain) return layout;
    return adapters->AdapterLayout(order.adapter_rank, adapters->rule().SendsFrom(order.version));
  }

  std::map<WorkOrderId, LiveOrder> orders;
  // Orders whose answer counts: repeating it is answered "already have it".
  std::map<WorkOrderId, ClientId> answered;
  // Clients that the controller takes for present; true: also for idle.
  std::map<ClientId, bool> presence;
  EventLoop::TimerId wake_timer = 0;

  // From the journal, for the start alone: updates that are accepted and not used, and what
  // was under way.
  std::map<WorkOrderId, ClientId> unused_updates;
  PendingPublication publication;
  absl::Time wake_at = absl::InfiniteFuture();

  size_t warnings = 0;                     // of the scheduler, in the log
  std::map<std::string, int64_t> refused;  // by the host alone: no order to lose
  uint64_t uplink_bytes_dense = 0;
  uint64_t downlink_bytes = 0;
  std::map<std::string, int64_t> put_off;  // uploads, by what was full
  std::map<std::string, absl::Time> put_off_logged;
  int64_t disk_pauses = 0;
  std::map<int64_t, absl::AnyInvocable<void()>> watchers;
  bool changed = false;  // the watchers are about to be told

  const JobId& id() const { return record.id; }
  void FillSections();
  bool ended() const { return controller == nullptr || IsEnded(controller->progress().state); }
  bool keeps_updates() const { return controller != nullptr && controller->spec().keep_updates; }
  // What keep_updates keeps.
  std::string KeptDir(const std::string& data_dir) const {
    return data_dir + "/updates/" + id().value();
  }
  // A first model on its way into the store; it stays there if updates are kept.
  std::string InitialPath(const std::string& data_dir) const {
    return keeps_updates() ? KeptDir(data_dir) + "/" + kFirstModelFile
                           : data_dir + "/initial/" + InitialName(id());
  }
  // In the folder `initial`.
  static std::string InitialName(const JobId& job) { return job.value() + ".safetensors"; }
};

// What the journal of a job amounts to: the controller as it was, and what was under way.
struct Replayed {
  std::unique_ptr<JobController> controller;
  RunDigest digest;
  std::map<WorkOrderId, WorkOrder> orders;  // out
  std::map<WorkOrderId, ClientId> answered;
  std::map<WorkOrderId, ClientId> unused_updates;  // accepted, neither combined nor dropped
  std::map<ClientId, bool> presence;
  std::map<Version, EvaluationRecord> evaluations;
  PendingPublication publication;
  absl::Time wake_at = absl::InfiniteFuture();
  absl::Time last_event = absl::InfinitePast();
  int64_t updates = 0;  // accepted
};

// DataLoss: not an event.
absl::StatusOr<JobEvent> ParseJournalLine(const std::string& line);
// "journal of job j-1, line 7", for errors; lines count from 0 here.
std::string JournalPlace(const JobId& job, size_t line);

// DataLoss naming the line that cannot be read. InvalidArgument from the spec.
absl::StatusOr<Replayed> Replay(const JobRecord& record, const std::vector<std::string>& journal);

FileDigest FileDigestOf(const ProgramSpec& program);

// Whether the first model comes with the job and not from a client.
bool HasInitialModel(const JobSpec& spec);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_LIVE_JOB_H_
