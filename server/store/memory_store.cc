#include "server/store/memory_store.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "common/check.h"
#include "common/status_macros.h"
#include "server/store/delta_reader.h"
#include "server/store/store_errors.h"

namespace tributary {
namespace {

static_assert(std::endian::native == std::endian::little, "models are served as they lie");

ParamVector CloneIfAny(const ParamVector& vector) {
  return vector.empty() ? ParamVector() : vector.Clone();
}

class MemoryReader final : public ModelReader {
 public:
  MemoryReader(VersionRecord record, std::shared_ptr<const ParamVector> model)
      : record_(std::move(record)), model_(std::move(model)) {}

  const VersionRecord& record() const override { return record_; }
  const LayoutPtr& layout() const override { return model_->layout(); }
  uint64_t size_bytes() const override { return model_->values().size() * sizeof(float); }

  absl::Status Read(uint64_t offset, uint64_t length, std::string& out) const override {
    TRIB_RETURN_IF_ERROR(store::CheckRange(offset, length, size_bytes()));
    out.assign(reinterpret_cast<const char*>(model_->values().data()) + offset, length);
    return absl::OkStatus();
  }

 private:
  const VersionRecord record_;
  const std::shared_ptr<const ParamVector> model_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ModelStore>> MemoryStore::Create(const Options&) {
  return std::make_unique<MemoryStore>();
}

absl::StatusOr<const MemoryStore::Job*> MemoryStore::Find(const JobId& job) const {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return store::UnknownJob(job);
  return &found->second;
}

absl::StatusOr<MemoryStore::Job*> MemoryStore::Find(const JobId& job) {
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return store::UnknownJob(job);
  return &found->second;
}

absl::StatusOr<MemoryStore::Entry> MemoryStore::FindEntry(const JobId& job, Version version) const {
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(const Job* found, Find(job));
  if (version < 0 || static_cast<size_t>(version) >= found->versions.size()) {
    return store::UnknownVersion(job, version);
  }
  return found->versions[static_cast<size_t>(version)];
}

absl::StatusOr<MemoryStore::Entry> MemoryStore::FindKept(const JobId& job, Version version) const {
  TRIB_ASSIGN_OR_RETURN(Entry entry, FindEntry(job, version));
  if (entry.model == nullptr) return store::ModelNotKept(job, version);
  return entry;
}

absl::Status MemoryStore::PutJob(const JobRecord& job) {
  TRIB_RETURN_IF_ERROR(store::CheckId("job", job.id.value()));
  MutexLock lock(mu_);
  for (const auto& [id, other] : jobs_) {
    if (!job.request_id.empty() && other.record.request_id == job.request_id && id != job.id) {
      return store::RequestIdTaken(job.request_id);
    }
  }
  jobs_[job.id].record = job;
  return absl::OkStatus();
}

absl::StatusOr<JobRecord> MemoryStore::GetJob(const JobId& job) const {
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(const Job* found, Find(job));
  return found->record;
}

absl::StatusOr<std::vector<JobRecord>> MemoryStore::ListJobs() const {
  std::vector<JobRecord> records;
  {
    MutexLock lock(mu_);
    for (const auto& [id, job] : jobs_) records.push_back(job.record);
  }
  std::stable_sort(records.begin(), records.end(), [](const JobRecord& a, const JobRecord& b) {
    return a.submitted_at < b.submitted_at;
  });
  return records;
}

absl::StatusOr<VersionRecord> MemoryStore::Publish(const Publication& publication) {
  TRIB_CHECK(publication.model != nullptr && !publication.model->empty());
  auto model = std::make_shared<const ParamVector>(publication.model->Clone());
  auto state = std::make_shared<State>();
  for (const auto& [name, vector] : publication.state_vectors) {
    state->vectors[name] = std::make_shared<const ParamVector>(CloneIfAny(*vector));
  }
  state->scalars = publication.state_scalars;
  std::shared_ptr<const std::string> delta;
  if (!publication.delta.empty()) delta = std::make_shared<const std::string>(publication.delta);

  VersionRecord record;
  record.version = publication.version;
  record.model_digest = model->ComputeDigest();
  record.layout_digest = model->layout()->digest();
  record.published_at = publication.at;
  record.updates = publication.updates;
  record.stats_json = publication.stats_json;

  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(Job * job, Find(publication.job));
  const auto next = static_cast<Version>(job->versions.size());
  if (publication.version != next) {
    return store::NotNextVersion(publication.job, publication.version, next);
  }
  job->versions.push_back({record, std::move(model), std::move(delta), std::move(state)});
  return record;
}

absl::StatusOr<VersionRecord> MemoryStore::GetVersion(const JobId& job, Version version) const {
  TRIB_ASSIGN_OR_RETURN(const Entry entry, FindEntry(job, version));
  return entry.record;
}

absl::StatusOr<std::vector<VersionRecord>> MemoryStore::ListVersions(const JobId& job) const {
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(const Job* found, Find(job));
  std::vector<VersionRecord> records;
  for (const Entry& entry : found->versions) records.push_back(entry.record);
  return records;
}

absl::Status MemoryStore::PutEvaluation(const JobId& job, const EvaluationRecord& evaluation) {
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(Job * found, Find(job));
  const Version version = evaluation.version;
  if (version < 0 || static_cast<size_t>(version) >= found->versions.size()) {
    return store::UnknownVersion(job, version);
  }
  found->versions[static_cast<size_t>(version)].record.evaluation = evaluation;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ModelReader>> MemoryStore::OpenModel(const JobId& job,
                                                                    Version version) const {
  TRIB_ASSIGN_OR_RETURN(Entry entry, FindKept(job, version));
  return std::make_unique<MemoryReader>(std::move(entry.record), std::move(entry.model));
}

absl::StatusOr<ParamVector> MemoryStore::LoadModel(const JobId& job, Version version) const {
  TRIB_ASSIGN_OR_RETURN(const Entry entry, FindKept(job, version));
  return entry.model->Clone();
}

absl::StatusOr<std::unique_ptr<ModelReader>> MemoryStore::OpenDeltas(const JobId& job, Version from,
                                                                     Version to) const {
  TRIB_RETURN_IF_ERROR(FindEntry(job, from).status());
  TRIB_ASSIGN_OR_RETURN(const Entry last, FindKept(job, to));
  auto reader = std::make_unique<DeltaReader>(last.record, last.model->layout());
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(const Job* found, Find(job));
  for (Version version = from + 1; version <= to; ++version) {
    const auto& delta = found->versions[static_cast<size_t>(version)].delta;
    if (delta == nullptr) return store::DeltaNotKept(job, version);
    reader->Append({version, delta->size()}, [delta](uint64_t offset, absl::Span<char> out) {
      delta->copy(out.data(), out.size(), offset);
      return absl::OkStatus();
    });
  }
  return reader;
}

absl::Status MemoryStore::ReadModel(const JobId& job, Version version,
                                    const TakeValues& take) const {
  TRIB_ASSIGN_OR_RETURN(const Entry entry, FindKept(job, version));
  take(0, entry.model->values());
  return absl::OkStatus();
}

absl::Status MemoryStore::LoadState(const JobId& job, Version version,
                                    const std::map<std::string, ParamVector*>& vectors,
                                    const std::map<std::string, double*>& scalars) const {
  TRIB_ASSIGN_OR_RETURN(const Entry entry, FindEntry(job, version));
  if (entry.state == nullptr) return store::StateNotKept(job, version);
  for (const auto& [name, target] : vectors) {
    const auto found = entry.state->vectors.find(name);
    if (found == entry.state->vectors.end()) return store::StateMissing(job, version, name);
    const ParamVector& stored = *found->second;
    if (!target->empty() && !stored.empty() &&
        target->layout()->digest() != stored.layout()->digest()) {
      return store::StateLayoutDiffers(job, version, name);
    }
    *target = CloneIfAny(stored);
  }
  for (const auto& [name, target] : scalars) {
    const auto found = entry.state->scalars.find(name);
    if (found == entry.state->scalars.end()) return store::StateMissing(job, version, name);
    *target = found->second;
  }
  return absl::OkStatus();
}

absl::Status MemoryStore::Prune(const JobId& job, int64_t keep) {
  TRIB_RETURN_IF_ERROR(store::CheckKeep(keep));
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(Job * found, Find(job));
  const auto count = static_cast<int64_t>(found->versions.size());
  for (int64_t i = count - 2; i >= 0; --i) {
    Entry& entry = found->versions[static_cast<size_t>(i)];
    entry.state = nullptr;
    if (i >= count - keep) continue;
    if (!entry.record.kept) break;  // nor is any before it
    entry.model = nullptr;
    entry.record.kept = false;
  }
  if (count > 0) ForgetDeltas(*found);
  return absl::OkStatus();
}

void MemoryStore::ForgetDeltas(Job& job) {
  const uint64_t most = job.versions.back().model->values().size() * sizeof(float);
  uint64_t bytes = 0;
  size_t first = job.versions.size();
  while (first > job.first_delta && job.versions.size() - first < kMaxDeltas &&
         job.versions[first - 1].delta != nullptr) {
    bytes += job.versions[first - 1].delta->size();
    if (bytes >= most) break;
    --first;
  }
  for (; job.first_delta < first; ++job.first_delta) job.versions[job.first_delta].delta = nullptr;
}

absl::Status MemoryStore::AppendJournal(const JobId& job, const std::vector<std::string>& lines) {
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(Job * found, Find(job));
  found->journal.insert(found->journal.end(), lines.begin(), lines.end());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MemoryStore::ReadJournal(const JobId& job) const {
  MutexLock lock(mu_);
  TRIB_ASSIGN_OR_RETURN(const Job* found, Find(job));
  return found->journal;
}

absl::Status MemoryStore::PutClient(const ClientRecord& client) {
  TRIB_RETURN_IF_ERROR(store::CheckId("client", client.id.value()));
  MutexLock lock(mu_);
  clients_[client.id] = client;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ClientRecord>> MemoryStore::ListClients() const {
  MutexLock lock(mu_);
  std::vector<ClientRecord> records;
  for (const auto& [id, client] : clients_) records.push_back(client);
  return records;
}

}  // namespace tributary
