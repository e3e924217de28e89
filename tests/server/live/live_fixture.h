// A LiveHost on one thread: the pool's tasks run on the loop, the clock is moved by hand, and
// a crash is dropping everything that has not run yet.
#ifndef TRIBUTARY_TESTS_SERVER_LIVE_LIVE_FIXTURE_H_
#define TRIBUTARY_TESTS_SERVER_LIVE_LIVE_FIXTURE_H_

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/exhausted.h"
#include "gmock/gmock.h"
#include "server/live/live_host.h"
#include "server/store/memory_store.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {

class LoopExecutor final : public Executor {
 public:
  explicit LoopExecutor(EventLoop* loop) : loop_(loop) {}
  void Run(Task task) override { loop_->Post(std::move(task)); }

 private:
  EventLoop* const loop_;
};

// A store on a disk that can be full: then its writes fail, as SQLite's do. Or it is locked for so
// many attempts to publish.
class FillingStore final : public MemoryStore {
 public:
  absl::Status PutJob(const JobRecord& job) override {
    return full ? Full() : MemoryStore::PutJob(job);
  }
  absl::StatusOr<VersionRecord> Publish(const Publication& publication) override {
    if (full || full_for_versions) return Full();
    if (locked > 0) return --locked, absl::UnavailableError("database is locked");
    return MemoryStore::Publish(publication);
  }
  absl::Status AppendJournal(const JobId& job, const std::vector<std::string>& lines) override {
    return full ? Full() : MemoryStore::AppendJournal(job, lines);
  }
  absl::Status PutClient(const ClientRecord& client) override {
    return full ? Full() : MemoryStore::PutClient(client);
  }

  bool full = false;
  bool full_for_versions = false;
  int locked = 0;

 private:
  static absl::Status Full() {
    return MarkExhausted(absl::UnavailableError("database: disk is full"), kDisk);
  }
};

class LiveFixture {
 public:
  explicit LiveFixture(LiveOptions options = {}, SpoolLimits limits = {});
  ~LiveFixture() { Crash(); }

  // Opens the host on what is on disk; runs at most `tasks` tasks from then on.
  void Start(int64_t tasks = std::numeric_limits<int64_t>::max());
  // As kill -9: nothing that waits is run any more.
  void Crash();

  // Runs what is ready, within the budget; false when that is used up.
  bool Run();
  bool RunOne() { return loop_->RunOne(); }
  void Advance(absl::Duration duration);
  int64_t tasks_run() const { return tasks_run_; }

  LiveHost& host() { return *host_; }
  FillingStore& store() { return *store_; }
  Spool& spool() { return *spool_; }
  SimulatedClock& clock() { return clock_; }
  std::string data_dir() const { return dir_.path(); }
  uint64_t free_bytes = 1'000'000;                    // of the spool's disk
  static constexpr uint64_t kMinFreeBytes = 100'000;  // below it the alarm is on
  // Everything under the spool's folder, by relative path.
  std::vector<std::string> SpoolFiles() const;

  // A file that a job may name, put as a whole.
  FileDigest Put(const std::string& content);
  // A job of `trainers` clients a round that ends at `versions`; `more` goes into the spec.
  // With `initial`, the first model comes with the job.
  JobId Submit(const std::string& name, int64_t trainers, int64_t versions,
               const std::vector<float>& initial, const nlohmann::json& more = {});
  JobView Job(const JobId& job) { return *host().GetJob(job); }
  absl::StatusOr<JobExport> Export(const JobId& job);
  int64_t Lost(const JobId& job, const std::string& cause) { return Job(job).progress.lost[cause]; }

 private:
  SimulatedClock clock_{absl::FromUnixSeconds(1'000'000)};
  TempDir dir_;
  LiveOptions options_;
  SpoolLimits limits_;
  std::unique_ptr<FillingStore> store_;
  std::unique_ptr<Spool> spool_;
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<LoopExecutor> pool_;
  std::unique_ptr<LiveHost> host_;
  int64_t tasks_left_ = 0;
  int64_t tasks_run_ = 0;
};

// Speaks to the host as a client would. Calls return nothing when the budget ran out first.
class FakeClient {
 public:
  FakeClient(LiveFixture* fixture, std::string id, bool evaluate_only = false)
      : fixture_(fixture), id_(std::move(id)), evaluate_only_(evaluate_only) {}

  const ClientId& id() const { return id_; }

  absl::Status Enroll();
  // Leaves the poll open; see `answer`.
  void CheckIn(absl::Duration max_wait = absl::ZeroDuration());
  int64_t task = 0;  // that it reports
  std::optional<absl::StatusOr<CheckInAnswer>> answer;
  // Checks in until there is work; none after a few attempts.
  std::optional<WorkItem> GetWork();

  UploadHeader Header(const WorkItem& item, absl::string_view payload) const;
  std::optional<absl::StatusOr<UploadAnswer>> Upload(const UploadHeader& header,
                                                     absl::string_view payload,
                                                     uint64_t stop_at = ~uint64_t{0});
  // An update, a contribution or a first model, of whatever layout.
  std::optional<absl::StatusOr<UploadAnswer>> UploadValues(const WorkItem& item,
                                                           const ParamVector& values);
  // A delta that is `value` everywhere.
  std::optional<absl::StatusOr<UploadAnswer>> UploadDelta(const WorkItem& item, float value);
  std::optional<absl::StatusOr<ReportAnswer>> Report(const WorkItem& item, double loss,
                                                     double accuracy, int64_t examples);
  absl::StatusOr<bool> Progress(const WorkItem& item);

  LayoutPtr layout = FlatLayout(3, 1);
  uint64_t chunk_bytes = 5;  // of an upload

 private:
  LiveFixture* const fixture_;
  const ClientId id_;
  const bool evaluate_only_;
};

// Of an events.jsonl: each event has the digest of the run so far, and is followed by what a
// controller decides on it now.
::testing::Matcher<const std::string&> HasSoundDigests();

std::string RawPayload(const LayoutPtr& layout, float value);
bool PutOff(const std::optional<absl::StatusOr<UploadAnswer>>& answer);
bool Accepted(const std::optional<absl::StatusOr<UploadAnswer>>& answer);
Refusal RefusedFor(const std::optional<absl::StatusOr<UploadAnswer>>& answer);

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SERVER_LIVE_LIVE_FIXTURE_H_
