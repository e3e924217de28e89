#include "server/store/sqlite_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "server/store/sqlite_schema.h"
#include "server/store/store_errors.h"

namespace tributary {
namespace {

constexpr absl::Duration kBusyTimeout = absl::Seconds(5);

constexpr char kSelectJobs[] =
    "SELECT id, request_id, spec_json, state, reason, submitted_at_ns, ended_at_ns FROM jobs "
    "WHERE ?1 IS NULL OR id = ?1 ORDER BY submitted_at_ns, id";

JobRecord JobOf(const SqliteStatement& row) {
  JobRecord job;
  job.id = JobId(row.Text(0));
  job.request_id = row.Text(1);
  job.spec_json = row.Text(2);
  job.state = row.Text(3);
  job.reason = row.Text(4);
  job.submitted_at = row.Time(5);
  if (!row.IsNull(6)) job.ended_at = row.Time(6);
  return job;
}

}  // namespace

absl::Status SqliteStoreOptions::Validate() const {
  if (!path.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("path: must name a directory, found nothing");
}

absl::StatusOr<std::unique_ptr<ModelStore>> SqliteStore::Create(const Options& options) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  TRIB_RETURN_IF_ERROR(CreateDirectory(options.path));
  TRIB_ASSIGN_OR_RETURN(DirectoryLock directory, DirectoryLock::Acquire(options.path));
  Files files;
  TRIB_ASSIGN_OR_RETURN(files.params, ContentFiles::Open(absl::StrCat(options.path, "/params")));
  TRIB_ASSIGN_OR_RETURN(files.deltas,
                        ContentFiles::Open(absl::StrCat(options.path, "/deltas"), ".delta"));
  const std::string database = absl::StrCat(options.path, "/tributary.db");
  TRIB_ASSIGN_OR_RETURN(SqliteConnection db, SqliteConnection::Open(database, kBusyTimeout));
  TRIB_RETURN_IF_ERROR(WithContext(MigrateSchema(db), database));
  auto store = std::unique_ptr<SqliteStore>(
      new SqliteStore(std::move(directory), std::move(files), std::move(db)));
  TRIB_RETURN_IF_ERROR(store->SweepFiles());
  return store;
}

absl::Status SqliteStore::SweepFiles() {
  MutexLock files_lock(files_mu_);
  MutexLock lock(mu_);
  int64_t removed = 0;
  for (const auto& [files, named] :
       {std::pair(files_.params.get(),
                  "SELECT model_digest FROM versions WHERE model_kept = 1 UNION "
                  "SELECT digest FROM state_vectors WHERE digest IS NOT NULL"),
        std::pair(files_.deltas.get(), "SELECT digest FROM deltas")}) {
    std::set<Digest> wanted;
    SqliteStatement query = db_.Prepare(named);
    while (query.Next()) wanted.insert(query.DigestAt(0));
    TRIB_RETURN_IF_ERROR(query.status());
    TRIB_ASSIGN_OR_RETURN(const int64_t swept, files->Sweep(wanted));
    removed += swept;
  }
  if (removed > 0) log::Info("removed files of unfinished publications", {{"files", removed}});
  return absl::OkStatus();
}

absl::Status SqliteStore::PutJob(const JobRecord& job) {
  TRIB_RETURN_IF_ERROR(store::CheckId("job", job.id.value()));
  MutexLock lock(mu_);
  if (!job.request_id.empty()) {
    SqliteStatement query = db_.Prepare("SELECT 1 FROM jobs WHERE request_id = ? AND id != ?");
    query.Bind(job.request_id).Bind(job.id.value());
    if (query.Next()) return store::RequestIdTaken(job.request_id);
    TRIB_RETURN_IF_ERROR(query.status());
  }
  SqliteStatement put = db_.Prepare(
      "INSERT INTO jobs (id, request_id, spec_json, state, reason, submitted_at_ns, ended_at_ns) "
      "VALUES (?, nullif(?, ''), ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
      "request_id = excluded.request_id, spec_json = excluded.spec_json, state = excluded.state, "
      "reason = excluded.reason, submitted_at_ns = excluded.submitted_at_ns, "
      "ended_at_ns = excluded.ended_at_ns");
  put.Bind(job.id.value()).Bind(job.request_id).Bind(job.spec_json).Bind(job.state);
  put.Bind(job.reason).Bind(job.submitted_at);
  job.ended_at ? put.Bind(*job.ended_at) : put.BindNull();
  return put.Run();
}

absl::StatusOr<JobRecord> SqliteStore::GetJob(const JobId& job) const {
  MutexLock lock(mu_);
  SqliteStatement query = db_.Prepare(kSelectJobs);
  query.Bind(job.value());
  if (query.Next()) return JobOf(query);
  TRIB_RETURN_IF_ERROR(query.status());
  return store::UnknownJob(job);
}

absl::StatusOr<std::vector<JobRecord>> SqliteStore::ListJobs() const {
  MutexLock lock(mu_);
  std::vector<JobRecord> jobs;
  SqliteStatement query = db_.Prepare(kSelectJobs);
  query.BindNull();
  while (query.Next()) jobs.push_back(JobOf(query));
  TRIB_RETURN_IF_ERROR(query.status());
  return jobs;
}

absl::Status SqliteStore::CheckJob(const JobId& job) const {
  SqliteStatement query = db_.Prepare("SELECT 1 FROM jobs WHERE id = ?");
  query.Bind(job.value());
  if (query.Next()) return absl::OkStatus();
  TRIB_RETURN_IF_ERROR(query.status());
  return store::UnknownJob(job);
}

absl::Status SqliteStore::AppendJournal(const JobId& job, const std::vector<std::string>& lines) {
  MutexLock lock(mu_);
  TRIB_RETURN_IF_ERROR(CheckJob(job));
  TRIB_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(db_));
  SqliteStatement query = db_.Prepare("SELECT max(sequence) FROM journal WHERE job_id = ?");
  query.Bind(job.value());
  int64_t sequence = query.Next() ? query.Integer(0) : 0;
  TRIB_RETURN_IF_ERROR(query.Run());
  SqliteStatement insert =
      db_.Prepare("INSERT INTO journal (job_id, sequence, line) VALUES (?, ?, ?)");
  for (const std::string& line : lines) {
    TRIB_RETURN_IF_ERROR(insert.Bind(job.value()).Bind(++sequence).Bind(line).Run());
  }
  return transaction.Commit();
}

absl::StatusOr<std::vector<std::string>> SqliteStore::ReadJournal(const JobId& job) const {
  MutexLock lock(mu_);
  TRIB_RETURN_IF_ERROR(CheckJob(job));
  std::vector<std::string> lines;
  SqliteStatement query =
      db_.Prepare("SELECT line FROM journal WHERE job_id = ? ORDER BY sequence");
  query.Bind(job.value());
  while (query.Next()) lines.push_back(query.Text(0));
  TRIB_RETURN_IF_ERROR(query.status());
  return lines;
}

absl::Status SqliteStore::PutClient(const ClientRecord& client) {
  TRIB_RETURN_IF_ERROR(store::CheckId("client", client.id.value()));
  MutexLock lock(mu_);
  SqliteStatement put = db_.Prepare(
      "INSERT OR REPLACE INTO clients (id, user_agent, evaluate_only, enrolled_at_ns, "
      "last_seen_at_ns, updates, lost, uplink_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
  put.Bind(client.id.value()).Bind(client.user_agent).Bind(int64_t{client.evaluate_only});
  put.Bind(client.enrolled_at).Bind(client.last_seen_at).Bind(client.updates).Bind(client.lost);
  return put.Bind(static_cast<int64_t>(client.uplink_bytes)).Run();
}

absl::StatusOr<std::vector<ClientRecord>> SqliteStore::ListClients() const {
  MutexLock lock(mu_);
  std::vector<ClientRecord> clients;
  SqliteStatement query = db_.Prepare(
      "SELECT id, user_agent, evaluate_only, enrolled_at_ns, last_seen_at_ns, updates, lost, "
      "uplink_bytes FROM clients ORDER BY id");
  while (query.Next()) {
    ClientRecord& client = clients.emplace_back();
    client.id = ClientId(query.Text(0));
    client.user_agent = query.Text(1);
    client.evaluate_only = query.Integer(2) != 0;
    client.enrolled_at = query.Time(3);
    client.last_seen_at = query.Time(4);
    client.updates = query.Integer(5);
    client.lost = query.Integer(6);
    client.uplink_bytes = static_cast<uint64_t>(query.Integer(7));
  }
  TRIB_RETURN_IF_ERROR(query.status());
  return clients;
}

}  // namespace tributary
