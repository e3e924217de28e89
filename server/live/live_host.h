// LiveHost: drives JobControllers on wall time. It holds the check-ins of idle clients,
// offers them to the running jobs, receives what they upload, journals every event before
// anybody sees its effect, and goes on after a crash from the journal.
//
//   TRIB_ASSIGN_OR_RETURN(auto host, LiveHost::Create(options, {&loop, &pool, &clock, &store,
//   &spool})); loop.Start();
//
// A client works for one job at a time: idle, it is announced to every running job; as soon
// as one sends it work, it is gone for the others.
//
// Answers common to all calls: NotFound (no such job, version or client), FailedPrecondition
// (a client that has not enrolled; a command to an ended job), Unavailable (shutting down).
#ifndef TRIBUTARY_SERVER_LIVE_LIVE_HOST_H_
#define TRIBUTARY_SERVER_LIVE_LIVE_HOST_H_

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/live/disk_alarm.h"
#include "server/live/event_loop.h"
#include "server/live/executor.h"
#include "server/live/job_export.h"
#include "server/live/journal_writer.h"
#include "server/live/live_job.h"
#include "server/live/live_types.h"
#include "server/live/spool.h"
#include "server/store/content_files.h"
#include "server/store/delivery.h"

namespace tributary {

// Belongs to the event loop: call everything from it unless said otherwise; callbacks run on
// it. Destroy it after the loop has stopped and the pool has ended.
class LiveHost {
 public:
  struct Deps {  // all outlive the host
    EventLoop* loop = nullptr;
    Executor* pool = nullptr;
    Clock* clock = nullptr;
    ModelStore* store = nullptr;
    Spool* spool = nullptr;
    Parallel* parallel = nullptr;  // for the arithmetic of versions; null: the pool's threads alone
  };
  // Recovers every job of the store; blocks on disk, so call it before the loop starts.
  static absl::StatusOr<std::unique_ptr<LiveHost>> Create(LiveOptions options, Deps deps);

  // ---- for clients (proto/tributary/v1/coordinator.proto has the rules) ----

  void Enroll(Enrolment enrolment, DoneCallback done);

  using PollId = int64_t;
  // Answered with work, or with a retry window: after `max_wait`, or at once if the participation
  // limits of all running jobs keep the client from working now.
  PollId CheckIn(const ClientId& client, absl::Duration max_wait, const ClientReport& report,
                 Callback<CheckInAnswer> done);
  // The caller has gone: the poll is forgotten, its callback dropped.
  void CancelCheckIn(const ClientId& client, PollId poll);

  using ReaderPtr = std::shared_ptr<const ModelReader>;
  // As OpenDelivery. The callback runs on the pool.
  void OpenModel(const ClientId& client, const JobId& job, Version version,
                 const std::optional<HeldVersion>& held, Callback<ReaderPtr> done);
  // The job's program, of which model.program has the size. NotFound: its model is none. DataLoss:
  // the file is damaged. The callback runs on the pool.
  void OpenProgram(const ClientId& client, const JobId& job,
                   Callback<std::shared_ptr<const File>> done);
  // That goes with the job's models; null: it prunes nothing, or there is no such job.
  std::shared_ptr<const SentMask> MaskOf(const JobId& job) const;
  void CountDownlink(const ClientId& client, const JobId& job, uint64_t bytes);

  struct OpenedUpload {
    std::optional<UploadAnswer> answer;  // settled by the header alone; else:
    std::shared_ptr<UploadStream> stream;
  };
  void OpenUpload(UploadHeader header, Callback<OpenedUpload> done);
  // The client has sent all it wants to send on this stream.
  void FinishUpload(std::shared_ptr<UploadStream> stream, Callback<UploadAnswer> done);

  void ReportEvaluation(const EvaluationReport& report, Callback<ReportAnswer> done);
  void ReportProgress(const ClientId& client, const JobId& job, WorkOrderId order,
                      Callback<bool> go_on);
  // `cause`: kNotFinite if training diverged, else kAbandoned.
  void AbandonWork(const ClientId& client, const JobId& job, WorkOrderId order, LossCause cause,
                   const std::string& message, DoneCallback done);

  // ---- for operators ----

  // As JobFiles::Put. The callback runs on the pool.
  void PutFile(FilePiece piece, Callback<uint64_t> done);
  void SubmitJob(Submission submission, Callback<JobId> done);
  std::vector<JobView> ListJobs() const;  // newest first
  absl::StatusOr<JobView> GetJob(const JobId& job) const;
  // `changed` is called after each change and when the host drains, until Unwatch.
  absl::StatusOr<int64_t> Watch(const JobId& job, absl::AnyInvocable<void()> changed);
  void Unwatch(const JobId& job, int64_t watcher);
  void Command(const JobId& job, event::Command::Verb verb, Callback<JobView> done);
  std::vector<ClientView> ListClients() const;  // by id
  absl::StatusOr<ClientView> GetClient(const ClientId& client) const;

  // The job as it is now, running or ended. DataLoss: its journal cannot be read. The callback
  // runs on the pool.
  void ExportJob(const JobId& job, Callback<JobExport> done);

  // Takes no more work, answers every held poll, and calls back when nothing is under way.
  void Drain(EventLoop::Task done);
  bool draining() const { return draining_; }

  // Thread-safe. Not OK: why no work can be taken now.
  absl::Status Ready() const;

 private:
  struct Poll {
    PollId id = 0;
    EventLoop::TimerId timer = 0;
    Callback<CheckInAnswer> done;
  };
  struct Client {
    ClientRecord record;
    std::optional<Poll> poll;
    ClientReport report;                               // with its last poll
    std::deque<std::pair<JobId, WorkOrderId>> orders;  // out; the first is being worked on
    EventLoop::TimerId grace_timer = 0;                // running while it is between calls
  };

  LiveHost(LiveOptions options, Deps deps, std::unique_ptr<JobFiles> files);

  // The engine (live_host.cc): events in, actions out, one at a time.
  void Feed(LiveJob& job, decltype(JobEvent::what) what);
  void Pump();
  void Perform(LiveJob& job, const JobAction& action);
  void On(LiveJob&, const std::monostate&) {}
  void On(LiveJob& job, const action::SendWork& a);
  void On(LiveJob& job, const action::RecallWork& a);
  void On(LiveJob& job, const action::InstallModel& a);
  void On(LiveJob& job, const action::PublishVersion& a);
  void On(LiveJob& job, const action::DropUpdate& a);
  void On(LiveJob& job, const action::WakeAt& a);
  void On(LiveJob& job, const action::RecordEvaluation& a);
  void On(LiveJob& job, const action::SetState& a);
  using Make = std::function<absl::StatusOr<event::VersionPublished>()>;
  struct Publishing;
  void Publish(LiveJob& job, Version version, std::vector<WorkOrderId> used, Make make);
  void MakeVersion(std::shared_ptr<Publishing> publishing);
  void MakeVersionLater(std::shared_ptr<Publishing> publishing, const absl::Status& why);
  void Published(const JobId& id, const absl::StatusOr<event::VersionPublished>& result,
                 const std::vector<WorkOrderId>& used);
  void LogWarnings(LiveJob& job);
  void Beat();
  void CheckDrained();

  // Room on the disk (live_disk.cc).
  UploadAnswer PutOff(LiveJob& job, const ClientId& client, const absl::Status& why);
  void MeasureDisk();
  void NoteDisk(const absl::Status& write);
  void DiskChanged();
  // Of what the journal has; nobody waits for it. May run more than once.
  using DiskWrite = absl::AnyInvocable<absl::Status(ModelStore&)>;
  void OnDisk(DiskWrite write);
  void Write(DiskWrite write);
  // Of what the journal no longer needs; no write waits for it, and it for none.
  void Discard(absl::AnyInvocable<absl::Status()> remove);

  // Clients and their orders (live_clients.cc, live_orders.cc).
  absl::StatusOr<Client*> Enrolled(const ClientId& client);
  void Announce(Client& client);
  void AnnounceAll();
  void Give(Client& client);
  void AnswerPoll(Client& client, CheckInAnswer answer);
  RetryWindow Pace() const;
  absl::Duration Rest(const Client& client) const;
  void SendAway(Client& client, absl::Duration rest);
  void Gone(const ClientId& client);
  void ArmGrace(Client& client, absl::Duration wait);
  // The order if it is out and this client's; nullptr else. Its client shows that it has it.
  LiveOrder* Confirm(LiveJob& job, const ClientId& client, WorkOrderId order);
  void ExpectSign(const JobId& job, LiveOrder& order, absl::Duration patience);
  void CheckAlive(const JobId& job, WorkOrderId order);
  void Fail(LiveJob& job, WorkOrderId order, LossCause cause, std::string message);
  void RemoveOrder(LiveJob& job, WorkOrderId order);
  void Save(const Client& client);

  // Updates (live_uploads.cc).
  std::optional<UploadAnswer> SettledAnswer(LiveJob& job, const UploadHeader& header);
  void Opened(std::shared_ptr<UploadStream> stream, const absl::Status& status,
              Callback<OpenedUpload> done);
  void RefuseUpload(LiveJob& job, WorkOrderId order, const absl::Status& why,
                    Callback<UploadAnswer> done);
  void Verify(std::shared_ptr<UploadStream> stream, Callback<UploadAnswer> done);
  void Judge(const UploadStream& stream, const absl::Status& status);
  void Accept(LiveJob& job, const UploadHeader& header);
  void RemoveSpooled(const JobId& job, std::vector<WorkOrderId> orders);
  void RemoveAllSpooled(const LiveJob& job);  // of an ended one
  void Retire(const LiveJob& job, std::vector<WorkOrderId> orders);
  std::string KeptPath(const LiveJob& job, WorkOrderId order) const;

  // Jobs (live_jobs.cc), and what a crash left of them (live_recovery.cc).
  LiveJob* FindJob(const JobId& job) const;
  absl::StatusOr<LiveJob*> RequireJob(const JobId& job) const;
  JobId NewJobId(const std::string& name) const;
  JobView View(const LiveJob& job) const;
  void Changed(LiveJob& job);
  absl::Status MakeExecutor(LiveJob& job) const;
  // Of the jobs in the store; all others go.
  absl::Status KeepFiles(const std::vector<JobRecord>& jobs);
  void Submitted(std::unique_ptr<LiveJob> owned, const absl::Status& written, Callback<JobId> done);
  absl::Status Recover();
  absl::Status RecoverJob(LiveJob& job);
  void Rejoin(LiveJob& job);
  absl::Status CleanSpool();

  const LiveOptions options_;
  const Deps deps_;
  const std::unique_ptr<JobFiles> files_;  // programs of ended jobs too, as their versions
  SerialLane disk_;
  SerialLane removals_;  // beside the disk lane: a large file takes its time, and nobody waits
  SerialLane numerics_;  // one model-sized piece of work at a time, over all jobs
  JournalWriter journal_;

  std::map<JobId, std::unique_ptr<LiveJob>> jobs_;
  std::map<std::string, JobId> submissions_;  // by request id
  std::set<JobId> submitting_;                // being written
  std::map<ClientId, Client> clients_;
  std::map<std::pair<JobId, WorkOrderId>, std::vector<Callback<UploadAnswer>>> verifying_;
  std::deque<std::pair<LiveJob*, JobEvent>> events_;
  bool pumping_ = false;
  int64_t next_poll_ = 1;
  int64_t next_watcher_ = 1;
  int64_t under_way_ = 0;  // verifications and publications
  DiskAlarm disk_alarm_;
  std::vector<EventLoop::Task> for_room_;  // what runs when there is room on the disk again
  absl::Status disk_refused_;              // the disk lane's alone: the write that waits for room
  bool draining_ = false;
  EventLoop::Task drained_;

  std::atomic<int64_t> beat_ns_;  // when the loop last ran
  std::atomic<bool> accepting_ = true;
  std::atomic<bool> store_ok_ = true;
  std::atomic<bool> disk_ok_ = true;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_LIVE_HOST_H_
