// SqliteStore: a ModelStore that survives kill -9 and power loss. Records are in a SQLite
// database (WAL, synchronous=FULL), vectors in content-addressed files beside it. A
// publication writes and syncs its files first and then commits one transaction that names
// them: a crash between leaves files that nothing names, and the next Create sweeps them.
// Format: docs/store_format.md.
#ifndef TRIBUTARY_SERVER_STORE_SQLITE_STORE_H_
#define TRIBUTARY_SERVER_STORE_SQLITE_STORE_H_

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/config/schema.h"
#include "common/mutex.h"
#include "server/store/content_files.h"
#include "server/store/directory_lock.h"
#include "server/store/model_store.h"
#include "server/store/sqlite_connection.h"

namespace tributary {

struct SqliteStoreOptions {
  std::string path;

  static void Describe(config::Fields<SqliteStoreOptions>& fields) {
    fields.Add("path", &SqliteStoreOptions::path, "the data directory; created if need be")
        .Required();
  }
  absl::Status Validate() const;
};

// Memory beside what callers hold: the layouts. Thread-safe.
class SqliteStore final : public ModelStore {
 public:
  using Options = SqliteStoreOptions;

  // FailedPrecondition: another process has the directory, or the database is of a newer
  // schema than this program knows. DataLoss: the database is damaged.
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
  struct OpenVector {
    File file;  // not open: an empty vector
    Digest digest;
    LayoutPtr layout;
  };
  struct OpenVersion {
    VersionRecord record;
    OpenVector model;
  };
  struct OpenState {
    std::map<std::string, OpenVector> vectors;
    std::map<std::string, double> scalars;
  };

  struct Files {
    std::unique_ptr<ContentFiles> params, deltas;
  };

  SqliteStore(DirectoryLock directory, Files files, SqliteConnection db)
      : directory_(std::move(directory)), files_(std::move(files)), db_(std::move(db)) {}

  absl::Status SweepFiles();
  absl::Status CheckJob(const JobId& job) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Version> NextVersion(const JobId& job) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<LayoutPtr> FindLayout(const Digest& digest) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<VersionRecord> FindVersion(const JobId& job, Version version) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<OpenVector> OpenFile(const Digest& digest, const Digest& layout) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // The files are opened under the lock, so that Prune cannot come between; they are read
  // without it.
  absl::StatusOr<OpenVersion> OpenKept(const JobId& job, Version version) const;
  absl::StatusOr<OpenState> OpenStateOf(const JobId& job, Version version) const;

  absl::Status PutLayout(const LayoutPtr& layout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status InsertVersion(const Publication& publication, const VersionRecord& record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status InsertState(const Publication& publication,
                           const std::map<std::string, Digest>& files)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status InsertDelta(const Publication& publication, const Digest& digest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // These return the files that nothing names any more.
  absl::StatusOr<std::set<Digest>> ForgetValues(const JobId& job, Version newest, int64_t keep)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::set<Digest>> ForgetDeltas(const JobId& job, Version newest)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // One descriptor, however many clients are sent it.
  absl::StatusOr<std::shared_ptr<const File>> OpenDelta(const Digest& digest, uint64_t bytes) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<Version> FirstUsefulDelta(const JobId& job, Version newest) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes out what `query`, which asks for a digest, finds.
  static absl::Status EraseNamed(SqliteStatement query, std::set<Digest>& digests);

  const DirectoryLock directory_;
  const Files files_;

  // Held from writing a file until the database names it, and from its last name's removal
  // until the file is gone: between the two nothing else may decide about files.
  Mutex files_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  mutable Mutex mu_;
  SqliteConnection db_ ABSL_GUARDED_BY(mu_);
  mutable std::map<Digest, LayoutPtr> layouts_ ABSL_GUARDED_BY(mu_);
  mutable std::map<Digest, std::weak_ptr<const File>> open_deltas_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_SQLITE_STORE_H_
