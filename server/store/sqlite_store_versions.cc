// The part of SqliteStore that is about versions and their files.
#include <limits>
#include <optional>
#include <utility>

#include "common/check.h"
#include "common/status_macros.h"
#include "server/store/sqlite_store.h"
#include "server/store/store_errors.h"

namespace tributary {
namespace {

class FileReader final : public ModelReader {
 public:
  FileReader(VersionRecord record, LayoutPtr layout, File file)
      : record_(std::move(record)), layout_(std::move(layout)), file_(std::move(file)) {}

  const VersionRecord& record() const override { return record_; }
  const LayoutPtr& layout() const override { return layout_; }
  uint64_t size_bytes() const override {
    return static_cast<uint64_t>(layout_->size()) * sizeof(float);
  }

  absl::Status Read(uint64_t offset, uint64_t length, std::string& out) const override {
    TRIB_RETURN_IF_ERROR(store::CheckRange(offset, length, size_bytes()));
    out.resize(length);
    return file_.ReadAt(offset, out.data(), length);
  }

 private:
  const VersionRecord record_;
  const LayoutPtr layout_;
  const File file_;
};

constexpr char kSelectVersions[] =
    "SELECT v.version, v.model_digest, v.layout_digest, v.published_at_ns, v.updates, "
    "v.stats_json, v.model_kept, e.num_examples, e.loss, e.accuracy FROM versions v "
    "LEFT JOIN evaluations e ON e.job_id = v.job_id AND e.version = v.version "
    "WHERE v.job_id = ? AND v.version BETWEEN ? AND ? ORDER BY v.version";

VersionRecord VersionOf(SqliteStatement& row) {
  VersionRecord record;
  record.version = row.Integer(0);
  record.model_digest = row.DigestAt(1);
  record.layout_digest = row.DigestAt(2);
  record.published_at = row.Time(3);
  record.updates = row.Integer(4);
  record.stats_json = row.Text(5);
  record.kept = row.Integer(6) != 0;
  if (!row.IsNull(7)) {
    record.evaluation = EvaluationRecord{record.version, row.Real(8), row.Real(9), row.Integer(7)};
  }
  return record;
}

absl::StatusOr<ParamVector> ReadVector(const ContentFiles& files, const File& file,
                                       const Digest& digest, const LayoutPtr& layout) {
  ParamVector vector = ParamVector::Uninitialized(layout);
  TRIB_RETURN_IF_ERROR(files.Read(file, digest, vector.values()));
  return vector;
}

}  // namespace

absl::StatusOr<Version> SqliteStore::NextVersion(const JobId& job) const {
  TRIB_RETURN_IF_ERROR(CheckJob(job));
  SqliteStatement query =
      db_.Prepare("SELECT coalesce(max(version) + 1, 0) FROM versions WHERE job_id = ?");
  query.Bind(job.value());
  const Version next = query.Next() ? query.Integer(0) : 0;
  TRIB_RETURN_IF_ERROR(query.status());
  return next;
}

absl::StatusOr<VersionRecord> SqliteStore::Publish(const Publication& publication) {
  TRIB_CHECK(publication.model != nullptr && !publication.model->empty());
  MutexLock files_lock(files_mu_);
  {
    MutexLock lock(mu_);
    TRIB_ASSIGN_OR_RETURN(const Version next, NextVersion(publication.job));
    if (publication.version != next) {
      return store::NotNextVersion(publication.job, publication.version, next);
    }
  }
  VersionRecord record;
  record.version = publication.version;
  TRIB_ASSIGN_OR_RETURN(record.model_digest, files_.params->Put(publication.model->values()));
  record.layout_digest = publication.model->layout()->digest();
  record.published_at = publication.at;
  record.updates = publication.updates;
  record.stats_json = publication.stats_json;
  std::map<std::string, Digest> state_files;
  for (const auto& [name, vector] : publication.state_vectors) {
    if (vector->empty()) continue;
    TRIB_ASSIGN_OR_RETURN(state_files[name], files_.params->Put(vector->values()));
  }
  std::optional<Digest> delta;
  if (!publication.delta.empty()) {
    TRIB_ASSIGN_OR_RETURN(delta, files_.deltas->Put(publication.delta));
  }

  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(db_));
  TRIB_RETURN_IF_ERROR(InsertVersion(publication, record));
  TRIB_RETURN_IF_ERROR(InsertState(publication, state_files));
  if (delta) TRIB_RETURN_IF_ERROR(InsertDelta(publication, *delta));
  TRIB_RETURN_IF_ERROR(transaction.Commit());
  return record;
}

absl::Status SqliteStore::PutLayout(const LayoutPtr& layout) {
  SqliteStatement insert =
      db_.Prepare("INSERT INTO layouts (digest, layout_json) VALUES (?, ?) ON CONFLICT DO NOTHING");
  return insert.Bind(layout->digest()).Bind(layout->ToJson()).Run();
}

absl::Status SqliteStore::InsertVersion(const Publication& publication,
                                        const VersionRecord& record) {
  TRIB_RETURN_IF_ERROR(PutLayout(publication.model->layout()));
  SqliteStatement insert = db_.Prepare(
      "INSERT INTO versions (job_id, version, model_digest, layout_digest, published_at_ns, "
      "updates, stats_json, model_kept, state_kept) VALUES (?, ?, ?, ?, ?, ?, ?, 1, 1)");
  insert.Bind(publication.job.value()).Bind(record.version).Bind(record.model_digest);
  insert.Bind(record.layout_digest).Bind(record.published_at).Bind(record.updates);
  return insert.Bind(record.stats_json).Run();
}

absl::Status SqliteStore::InsertState(const Publication& publication,
                                      const std::map<std::string, Digest>& files) {
  SqliteStatement insert_vector = db_.Prepare(
      "INSERT INTO state_vectors (job_id, version, name, digest, layout_digest) "
      "VALUES (?, ?, ?, ?, ?)");
  for (const auto& [name, vector] : publication.state_vectors) {
    insert_vector.Bind(publication.job.value()).Bind(publication.version).Bind(name);
    if (vector->empty()) {
      insert_vector.BindNull().BindNull();
    } else {
      TRIB_RETURN_IF_ERROR(PutLayout(vector->layout()));
      insert_vector.Bind(files.at(name)).Bind(vector->layout()->digest());
    }
    TRIB_RETURN_IF_ERROR(insert_vector.Run());
  }
  SqliteStatement insert_scalar =
      db_.Prepare("INSERT INTO state_scalars (job_id, version, name, value) VALUES (?, ?, ?, ?)");
  for (const auto& [name, value] : publication.state_scalars) {
    insert_scalar.Bind(publication.job.value()).Bind(publication.version).Bind(name).Bind(value);
    TRIB_RETURN_IF_ERROR(insert_scalar.Run());
  }
  return absl::OkStatus();
}

absl::StatusOr<VersionRecord> SqliteStore::FindVersion(const JobId& job, Version version) const {
  TRIB_RETURN_IF_ERROR(CheckJob(job));
  SqliteStatement query = db_.Prepare(kSelectVersions);
  query.Bind(job.value()).Bind(version).Bind(version);
  if (!query.Next()) {
    TRIB_RETURN_IF_ERROR(query.status());
    return store::UnknownVersion(job, version);
  }
  VersionRecord record = VersionOf(query);
  TRIB_RETURN_IF_ERROR(query.status());
  return record;
}

absl::StatusOr<VersionRecord> SqliteStore::GetVersion(const JobId& job, Version version) const {
  MutexLock lock(mu_);
  return FindVersion(job, version);
}

absl::StatusOr<std::vector<VersionRecord>> SqliteStore::ListVersions(const JobId& job) const {
  MutexLock lock(mu_);
  TRIB_RETURN_IF_ERROR(CheckJob(job));
  std::vector<VersionRecord> records;
  SqliteStatement query = db_.Prepare(kSelectVersions);
  query.Bind(job.value()).Bind(int64_t{0}).Bind(std::numeric_limits<int64_t>::max());
  while (query.Next()) records.push_back(VersionOf(query));
  TRIB_RETURN_IF_ERROR(query.status());
  return records;
}

absl::Status SqliteStore::PutEvaluation(const JobId& job, const EvaluationRecord& evaluation) {
  MutexLock lock(mu_);
  TRIB_RETURN_IF_ERROR(FindVersion(job, evaluation.version).status());
  SqliteStatement put = db_.Prepare(
      "INSERT OR REPLACE INTO evaluations (job_id, version, loss, accuracy, num_examples) "
      "VALUES (?, ?, ?, ?, ?)");
  put.Bind(job.value()).Bind(evaluation.version).Bind(evaluation.loss).Bind(evaluation.accuracy);
  return put.Bind(evaluation.num_examples).Run();
}

absl::StatusOr<LayoutPtr> SqliteStore::FindLayout(const Digest& digest) const {
  LayoutPtr& cached = layouts_[digest];
  if (cached != nullptr) return cached;
  SqliteStatement query = db_.Prepare("SELECT layout_json FROM layouts WHERE digest = ?");
  query.Bind(digest);
  const std::string json = query.Next() ? query.Text(0) : "";
  TRIB_RETURN_IF_ERROR(query.status());
  absl::StatusOr<LayoutPtr> layout = ParamLayout::FromJson(json);
  if (!layout.ok() || (*layout)->digest() != digest) {
    return absl::DataLossError(
        absl::StrCat("database: the layout ", digest.ToHex(), " is missing or damaged"));
  }
  cached = *layout;
  return cached;
}

absl::StatusOr<SqliteStore::OpenVector> SqliteStore::OpenFile(const Digest& digest,
                                                              const Digest& layout) const {
  OpenVector vector;
  vector.digest = digest;
  TRIB_ASSIGN_OR_RETURN(vector.layout, FindLayout(layout));
  TRIB_ASSIGN_OR_RETURN(vector.file,
                        files_.params->OpenForReading(
                            digest, static_cast<uint64_t>(vector.layout->size()) * sizeof(float)));
  return vector;
}

absl::StatusOr<SqliteStore::OpenVersion> SqliteStore::OpenKept(const JobId& job,
                                                               Version version) const {
  MutexLock lock(mu_);
  OpenVersion open;
  TRIB_ASSIGN_OR_RETURN(open.record, FindVersion(job, version));
  if (!open.record.kept) return store::ModelNotKept(job, version);
  TRIB_ASSIGN_OR_RETURN(open.model, OpenFile(open.record.model_digest, open.record.layout_digest));
  return open;
}

absl::StatusOr<std::unique_ptr<ModelReader>> SqliteStore::OpenModel(const JobId& job,
                                                                    Version version) const {
  TRIB_ASSIGN_OR_RETURN(OpenVersion open, OpenKept(job, version));
  return std::make_unique<FileReader>(std::move(open.record), std::move(open.model.layout),
                                      std::move(open.model.file));
}

absl::StatusOr<ParamVector> SqliteStore::LoadModel(const JobId& job, Version version) const {
  TRIB_ASSIGN_OR_RETURN(const OpenVersion open, OpenKept(job, version));
  return ReadVector(*files_.params, open.model.file, open.model.digest, open.model.layout);
}

absl::Status SqliteStore::ReadModel(const JobId& job, Version version,
                                    const TakeValues& take) const {
  TRIB_ASSIGN_OR_RETURN(const OpenVersion open, OpenKept(job, version));
  return files_.params->ReadBlocks(open.model.file, open.model.digest,
                                   static_cast<size_t>(open.model.layout->size()), take);
}

absl::StatusOr<SqliteStore::OpenState> SqliteStore::OpenStateOf(const JobId& job,
                                                                Version version) const {
  MutexLock lock(mu_);
  TRIB_RETURN_IF_ERROR(FindVersion(job, version).status());
  SqliteStatement kept =
      db_.Prepare("SELECT 1 FROM versions WHERE job_id = ? AND version = ? AND state_kept = 1");
  kept.Bind(job.value()).Bind(version);
  if (!kept.Next()) {
    TRIB_RETURN_IF_ERROR(kept.status());
    return store::StateNotKept(job, version);
  }
  OpenState open;
  SqliteStatement vectors = db_.Prepare(
      "SELECT name, digest, layout_digest FROM state_vectors WHERE job_id = ? AND version = ?");
  vectors.Bind(job.value()).Bind(version);
  while (vectors.Next()) {
    OpenVector& vector = open.vectors[vectors.Text(0)];
    if (vectors.IsNull(1)) continue;
    TRIB_ASSIGN_OR_RETURN(vector, OpenFile(vectors.DigestAt(1), vectors.DigestAt(2)));
  }
  TRIB_RETURN_IF_ERROR(vectors.status());
  SqliteStatement scalars =
      db_.Prepare("SELECT name, value FROM state_scalars WHERE job_id = ? AND version = ?");
  scalars.Bind(job.value()).Bind(version);
  while (scalars.Next()) open.scalars[scalars.Text(0)] = scalars.Real(1);
  TRIB_RETURN_IF_ERROR(scalars.status());
  return open;
}

absl::Status SqliteStore::LoadState(const JobId& job, Version version,
                                    const std::map<std::string, ParamVector*>& vectors,
                                    const std::map<std::string, double*>& scalars) const {
  TRIB_ASSIGN_OR_RETURN(const OpenState open, OpenStateOf(job, version));
  for (const auto& [name, target] : vectors) {
    const auto found = open.vectors.find(name);
    if (found == open.vectors.end()) return store::StateMissing(job, version, name);
    const OpenVector& stored = found->second;
    if (!stored.file.is_open()) {
      *target = ParamVector();
      continue;
    }
    if (!target->empty() && target->layout()->digest() != stored.layout->digest()) {
      return store::StateLayoutDiffers(job, version, name);
    }
    *target = ParamVector();  // frees its values before the new ones are made
    TRIB_ASSIGN_OR_RETURN(*target,
                          ReadVector(*files_.params, stored.file, stored.digest, stored.layout));
  }
  for (const auto& [name, target] : scalars) {
    const auto found = open.scalars.find(name);
    if (found == open.scalars.end()) return store::StateMissing(job, version, name);
    *target = found->second;
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::Prune(const JobId& job, int64_t keep) {
  TRIB_RETURN_IF_ERROR(store::CheckKeep(keep));
  MutexLock files_lock(files_mu_);
  std::set<Digest> params, deltas;
  {
    MutexLock lock(mu_);
    TRIB_ASSIGN_OR_RETURN(const Version next, NextVersion(job));
    TRIB_ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(db_));
    TRIB_ASSIGN_OR_RETURN(params, ForgetValues(job, next - 1, keep));
    TRIB_ASSIGN_OR_RETURN(deltas, ForgetDeltas(job, next - 1));
    TRIB_RETURN_IF_ERROR(transaction.Commit());
  }
  for (const Digest& digest : params) TRIB_RETURN_IF_ERROR(files_.params->Remove(digest));
  for (const Digest& digest : deltas) TRIB_RETURN_IF_ERROR(files_.deltas->Remove(digest));
  return absl::OkStatus();
}

absl::StatusOr<std::set<Digest>> SqliteStore::ForgetValues(const JobId& job, Version newest,
                                                           int64_t keep) {
  std::set<Digest> unnamed;
  SqliteStatement before = db_.Prepare(
      "SELECT model_digest FROM versions WHERE job_id = ?1 AND model_kept = 1 AND version <= ?3 "
      "UNION SELECT digest FROM state_vectors WHERE job_id = ?1 AND version < ?2 "
      "AND digest IS NOT NULL");
  before.Bind(job.value()).Bind(newest).Bind(newest - keep);
  while (before.Next()) unnamed.insert(before.DigestAt(0));
  TRIB_RETURN_IF_ERROR(before.status());

  SqliteStatement models = db_.Prepare(
      "UPDATE versions SET model_kept = 0 WHERE job_id = ? AND version <= ? AND model_kept = 1");
  TRIB_RETURN_IF_ERROR(models.Bind(job.value()).Bind(newest - keep).Run());
  for (const char* sql :
       {"DELETE FROM state_vectors WHERE job_id = ? AND version < ?",
        "DELETE FROM state_scalars WHERE job_id = ? AND version < ?",
        "UPDATE versions SET state_kept = 0 WHERE job_id = ? AND version < ? AND state_kept = 1"}) {
    SqliteStatement states = db_.Prepare(sql);
    TRIB_RETURN_IF_ERROR(states.Bind(job.value()).Bind(newest).Run());
  }

  TRIB_RETURN_IF_ERROR(
      EraseNamed(db_.Prepare("SELECT 1 FROM versions WHERE model_digest = ?1 AND model_kept = 1 "
                             "UNION ALL SELECT 1 FROM state_vectors WHERE digest = ?1 LIMIT 1"),
                 unnamed));
  return unnamed;
}

absl::Status SqliteStore::EraseNamed(SqliteStatement query, std::set<Digest>& digests) {
  for (auto digest = digests.begin(); digest != digests.end();) {
    const bool is_named = query.Bind(*digest).Next();
    TRIB_RETURN_IF_ERROR(query.Run());
    digest = is_named ? digests.erase(digest) : std::next(digest);
  }
  return absl::OkStatus();
}

}  // namespace tributary
