// The part of SqliteStore that is about what leads from one version to the next.
#include <utility>

#include "common/status_macros.h"
#include "server/store/delta_reader.h"
#include "server/store/sqlite_store.h"
#include "server/store/store_errors.h"

namespace tributary {

absl::Status SqliteStore::InsertDelta(const Publication& publication, const Digest& digest) {
  SqliteStatement insert =
      db_.Prepare("INSERT INTO deltas (job_id, version, digest, bytes) VALUES (?, ?, ?, ?)");
  insert.Bind(publication.job.value()).Bind(publication.version).Bind(digest);
  return insert.Bind(static_cast<int64_t>(publication.delta.size())).Run();
}

absl::StatusOr<std::unique_ptr<ModelReader>> SqliteStore::OpenDeltas(const JobId& job, Version from,
                                                                     Version to) const {
  TRIB_ASSIGN_OR_RETURN(OpenVersion last, OpenKept(job, to));
  auto reader = std::make_unique<DeltaReader>(std::move(last.record), std::move(last.model.layout));
  MutexLock lock(mu_);
  TRIB_RETURN_IF_ERROR(FindVersion(job, from).status());
  SqliteStatement query =
      db_.Prepare("SELECT digest, bytes FROM deltas WHERE job_id = ? AND version = ?");
  for (Version version = from + 1; version <= to; ++version) {
    query.Bind(job.value()).Bind(version);
    if (!query.Next()) {
      TRIB_RETURN_IF_ERROR(query.status());
      return store::DeltaNotKept(job, version);
    }
    const auto bytes = static_cast<uint64_t>(query.Integer(1));
    TRIB_ASSIGN_OR_RETURN(auto file, OpenDelta(query.DigestAt(0), bytes));
    TRIB_RETURN_IF_ERROR(query.Run());
    reader->Append({version, bytes},
                   [file = std::move(file)](uint64_t offset, absl::Span<char> out) {
                     return file->ReadAt(offset, out.data(), out.size());
                   });
  }
  return reader;
}

absl::StatusOr<std::shared_ptr<const File>> SqliteStore::OpenDelta(const Digest& digest,
                                                                   uint64_t bytes) const {
  std::weak_ptr<const File>& shared = open_deltas_[digest];
  if (auto file = shared.lock()) return file;
  TRIB_ASSIGN_OR_RETURN(File opened, files_.deltas->OpenForReading(digest, bytes));
  auto file = std::make_shared<const File>(std::move(opened));
  shared = file;
  return file;
}

absl::StatusOr<Version> SqliteStore::FirstUsefulDelta(const JobId& job, Version newest) const {
  TRIB_ASSIGN_OR_RETURN(const VersionRecord record, FindVersion(job, newest));
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, FindLayout(record.layout_digest));
  int64_t left = layout->size() * static_cast<int64_t>(sizeof(float));
  Version first = newest + 1;
  SqliteStatement query =
      db_.Prepare("SELECT version, bytes FROM deltas WHERE job_id = ? ORDER BY version DESC");
  query.Bind(job.value());
  while (newest - first + 1 < kMaxDeltas && query.Next() && query.Integer(0) == first - 1) {
    left -= query.Integer(1);
    if (left <= 0) break;
    --first;
  }
  TRIB_RETURN_IF_ERROR(query.status());
  return first;
}

absl::StatusOr<std::set<Digest>> SqliteStore::ForgetDeltas(const JobId& job, Version newest) {
  std::set<Digest> unnamed;
  if (newest < 0) return unnamed;
  TRIB_ASSIGN_OR_RETURN(const Version first, FirstUsefulDelta(job, newest));
  SqliteStatement before =
      db_.Prepare("SELECT digest FROM deltas WHERE job_id = ? AND version < ?");
  before.Bind(job.value()).Bind(first);
  while (before.Next()) unnamed.insert(before.DigestAt(0));
  TRIB_RETURN_IF_ERROR(before.status());
  SqliteStatement forget = db_.Prepare("DELETE FROM deltas WHERE job_id = ? AND version < ?");
  TRIB_RETURN_IF_ERROR(forget.Bind(job.value()).Bind(first).Run());
  TRIB_RETURN_IF_ERROR(
      EraseNamed(db_.Prepare("SELECT 1 FROM deltas WHERE digest = ?1 LIMIT 1"), unnamed));
  for (const Digest& digest : unnamed) open_deltas_.erase(digest);
  return unnamed;
}

}  // namespace tributary
