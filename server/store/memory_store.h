// MemoryStore: a ModelStore that forgets everything at the end of the process. For the
// simulator and for tests; "durable" means nothing more here than "visible".
#ifndef TRIBUTARY_SERVER_STORE_MEMORY_STORE_H_
#define TRIBUTARY_SERVER_STORE_MEMORY_STORE_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/config/schema.h"
#include "common/mutex.h"
#include "server/store/model_store.h"

namespace tributary {

struct MemoryStoreOptions {
  static void Describe(config::Fields<MemoryStoreOptions>&) {}
};

// Keeps one copy of each published vector until Prune. Tests derive from it to let single
// calls fail. Thread-safe.
class MemoryStore : public ModelStore {
 public:
  using Options = MemoryStoreOptions;
  static absl::StatusOr<std::unique_ptr<ModelStore>> Create(const Options& options);

  absl::Status PutJob(const JobRecord& job) override;
  absl::StatusOr<JobRecord> GetJob(const JobId& job) const override;
  absl::StatusOr<std::vector<JobRecord>> ListJobs() const override;

  absl::StatusOr<VersionRecord> Publish(const Publication& publication) override;
  absl::StatusOr<VersionRecord> GetVersion(const JobId& job, Version version) const override;
  absl::StatusOr<std::vector<VersionRecord>> ListVersions(const JobId& job) const override;
  absl::Status PutEvaluation(const JobId& job, const EvaluationRecord& evaluation) override;

  absl::StatusOr<std::unique_ptr<ModelReader>> OpenModel(const JobId& job,
                                                         Version version) const override;
  absl::StatusOr<ParamVector> LoadModel(const JobId& job, Version version) const override;
  absl::StatusOr<std::unique_ptr<ModelReader>> OpenDeltas(const JobId& job, Version from,
                                                          Version to) const override;
  absl::Status ReadModel(const JobId& job, Version version, const TakeValues& take) const override;
  absl::Status LoadState(const JobId& job, Version version,
                         const std::map<std::string, ParamVector*>& vectors,
                         const std::map<std::string, double*>& scalars) const override;
  absl::Status Prune(const JobId& job, int64_t keep) override;

  absl::Status AppendJournal(const JobId& job, const std::vector<std::string>& lines) override;
  absl::StatusOr<std::vector<std::string>> ReadJournal(const JobId& job) const override;

  absl::Status PutClient(const ClientRecord& client) override;
  absl::StatusOr<std::vector<ClientRecord>> ListClients() const override;

 private:
  using SharedVector = std::shared_ptr<const ParamVector>;
  struct State {
    std::map<std::string, SharedVector> vectors;
    std::map<std::string, double> scalars;
  };
  struct Entry {
    VersionRecord record;
    SharedVector model;                        // null: no longer kept
    std::shared_ptr<const std::string> delta;  // null: none, or no longer kept
    std::shared_ptr<const State> state;        // null: no longer kept
  };
  struct Job {
    JobRecord record;
    std::vector<Entry> versions;  // at the index of their number
    std::vector<std::string> journal;
    size_t first_delta = 0;  // no version before it has one
  };

  absl::StatusOr<const Job*> Find(const JobId& job) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Job*> Find(const JobId& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void ForgetDeltas(Job& job);
  // A copy: it shares the vectors, so that they are read without the lock.
  absl::StatusOr<Entry> FindEntry(const JobId& job, Version version) const;
  absl::StatusOr<Entry> FindKept(const JobId& job, Version version) const;

  mutable Mutex mu_;
  std::map<JobId, Job> jobs_ ABSL_GUARDED_BY(mu_);
  std::map<ClientId, ClientRecord> clients_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_MEMORY_STORE_H_
