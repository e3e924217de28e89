#include "server/live/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/durable_file.h"
#include "common/exhausted.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace tributary {

struct SpooledUpload {
  explicit SpooledUpload(std::string base_path) : base(std::move(base_path)) {}

  std::string HeaderPath() const { return base + ".header"; }
  std::string PartialPath() const { return base + ".upload"; }
  std::string CompletePath() const { return base + ".update"; }
  std::string SparePath() const { return base + ".spare"; }

  const std::string base;
  std::atomic<bool> complete = false;  // set under mu
  Mutex mu;
  bool removed ABSL_GUARDED_BY(mu) = false;
  int64_t writer ABSL_GUARDED_BY(mu) = 0;  // the newest UploadFile; the others are stale
  uint64_t total ABSL_GUARDED_BY(mu) = 0;
  File file ABSL_GUARDED_BY(mu);
  File header ABSL_GUARDED_BY(mu);  // open while `file` is
};

namespace {

constexpr uint64_t kSpareFrom = 1 << 20;  // a smaller file is made as quickly as it is found

struct Sidecar {
  uint64_t total = 0;
  ClientId client;
  std::string header;
  uint64_t arrived = 0;

  bool OfTheSameUploadAs(const Sidecar& other) const {
    return total == other.total && client == other.client && header == other.header;
  }
};

constexpr size_t kNumberBytes = 8;
constexpr size_t kArrivedAt = kNumberBytes;
constexpr size_t kIdLengthAt = 2 * kNumberBytes;

std::string EncodeNumber(uint64_t number) {
  std::string text;
  for (size_t i = 0; i < kNumberBytes; ++i) text.push_back(static_cast<char>(number >> (8 * i)));
  return text;
}

std::string Encode(const Sidecar& sidecar) {
  const std::string& client = sidecar.client.value();
  return absl::StrCat(EncodeNumber(sidecar.total), EncodeNumber(sidecar.arrived),
                      std::string(1, static_cast<char>(client.size())), client, sidecar.header);
}

absl::StatusOr<Sidecar> ReadSidecar(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(path));
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(text[at]); };
  const auto number = [&](size_t at) {
    uint64_t value = 0;
    for (size_t i = 0; i < kNumberBytes; ++i) value |= uint64_t{byte(at + i)} << (8 * i);
    return value;
  };
  const size_t before_id = kIdLengthAt + 1;
  if (text.size() < before_id || text.size() < before_id + byte(kIdLengthAt)) {
    return absl::DataLossError(
        absl::StrCat(path, " is damaged: ", text.size(), " bytes are too few"));
  }
  Sidecar sidecar{.total = number(0),
                  .client = ClientId(text.substr(before_id, byte(kIdLengthAt))),
                  .header = text.substr(before_id + byte(kIdLengthAt)),
                  .arrived = number(kArrivedAt)};
  if (sidecar.arrived <= sidecar.total) return sidecar;
  return absl::DataLossError(absl::StrCat(path, " is damaged: ", sidecar.arrived,
                                          " bytes of an upload of ", sidecar.total, " are there"));
}

// Not made durable: a power cut may leave the number ahead of the bytes, which the checksum of the
// whole finds.
absl::Status RecordArrived(SpooledUpload& upload, uint64_t bytes)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  return upload.header.WriteAt(kArrivedAt, EncodeNumber(bytes));
}

void CloseFiles(SpooledUpload& upload) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  upload.file = File();
  upload.header = File();
}

// Opens the file to write on, and returns how much of the upload is in it and durable.
absl::StatusOr<uint64_t> OpenPartial(SpooledUpload& upload, const Sidecar& wanted)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  const std::string dir = upload.base.substr(0, upload.base.rfind('/'));
  const absl::StatusOr<Sidecar> found = ReadSidecar(upload.HeaderPath());
  uint64_t there = 0;
  if (found.ok() && found->OfTheSameUploadAs(wanted)) {
    there = found->arrived;
  } else {
    TRIB_RETURN_IF_ERROR(CreateDirectory(dir));
    TRIB_RETURN_IF_ERROR(WriteFileAtomically(upload.HeaderPath(), Encode(wanted)));
  }
  TRIB_ASSIGN_OR_RETURN(upload.header, File::Open(upload.HeaderPath(), O_WRONLY));
  TRIB_ASSIGN_OR_RETURN(upload.file, File::Open(upload.PartialPath(), O_WRONLY | O_CREAT));
  TRIB_ASSIGN_OR_RETURN(const uint64_t size, upload.file.Size());
  if (size != upload.total) {  // a new file, a spare of another size, or a damaged one
    there = 0;
    TRIB_RETURN_IF_ERROR(RecordArrived(upload, there));
    TRIB_RETURN_IF_ERROR(upload.file.Truncate(upload.total));
  }
  TRIB_RETURN_IF_ERROR(upload.file.Reserve(upload.total));
  TRIB_RETURN_IF_ERROR(upload.file.Sync());
  TRIB_RETURN_IF_ERROR(SyncDirectory(dir));
  return there;
}

absl::Status CheckWriter(const SpooledUpload& upload, int64_t writer)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  if (!upload.removed && upload.writer == writer) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("the upload ", upload.base,
                                         upload.removed ? " was removed" : " was taken over"));
}

absl::Status RemoveFiles(SpooledUpload& upload) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  CloseFiles(upload);
  TRIB_RETURN_IF_ERROR(RemoveFile(upload.CompletePath()));
  TRIB_RETURN_IF_ERROR(RemoveFile(upload.PartialPath()));
  TRIB_RETURN_IF_ERROR(RemoveFile(upload.HeaderPath()));
  upload.removed = true;
  return absl::OkStatus();
}

}  // namespace

UploadFile::UploadFile(std::shared_ptr<SpooledUpload> upload, int64_t writer, uint64_t resumed_at)
    : upload_(std::move(upload)), writer_(writer), size_(resumed_at), durable_(resumed_at) {}

UploadFile::~UploadFile() {
  MutexLock lock(upload_->mu);
  if (upload_->writer == writer_) CloseFiles(*upload_);
}

absl::Status UploadFile::Append(uint64_t offset, absl::string_view data) {
  MutexLock lock(upload_->mu);
  TRIB_RETURN_IF_ERROR(CheckWriter(*upload_, writer_));
  if (offset != size_) {
    return absl::OutOfRangeError(
        absl::StrCat("upload offset: expected ", size_, ", found ", offset));
  }
  if (data.size() > upload_->total - size_) {
    return absl::InvalidArgumentError(absl::StrCat("upload of ", upload_->total, " bytes: found ",
                                                   data.size(), " bytes at offset ", offset));
  }
  TRIB_RETURN_IF_ERROR(upload_->file.WriteAt(offset, data));
  size_ += data.size();
  return RecordArrived(*upload_, size_);
}

absl::StatusOr<uint64_t> UploadFile::Sync() {
  MutexLock lock(upload_->mu);
  TRIB_RETURN_IF_ERROR(CheckWriter(*upload_, writer_));
  if (durable_ == size_) return durable_;
  TRIB_RETURN_IF_ERROR(upload_->file.Sync());
  durable_ = size_;
  return durable_;
}

absl::Status UploadFile::Finish() {
  MutexLock lock(upload_->mu);
  TRIB_RETURN_IF_ERROR(CheckWriter(*upload_, writer_));
  if (upload_->complete) return absl::OkStatus();
  if (size_ != upload_->total) {
    return absl::FailedPreconditionError(
        absl::StrCat("upload of ", upload_->total, " bytes: only ", size_, " have arrived"));
  }
  TRIB_RETURN_IF_ERROR(upload_->file.Sync());
  durable_ = size_;
  TRIB_RETURN_IF_ERROR(RenameFile(upload_->PartialPath(), upload_->CompletePath()));
  upload_->complete = true;
  CloseFiles(*upload_);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(SpoolOptions options) {
  TRIB_RETURN_IF_ERROR(CreateDirectory(options.dir));
  auto spool = std::unique_ptr<Spool>(new Spool(std::move(options)));
  TRIB_ASSIGN_OR_RETURN(const std::vector<std::string> names, ListDirectory(spool->options_.dir));
  for (const std::string& name : names) {
    if (IsValidId(name)) TRIB_RETURN_IF_ERROR(spool->RecoverJob(JobId(name)));
  }
  return spool;
}

std::string Spool::DirOf(const JobId& job) const {
  return absl::StrCat(options_.dir, "/", job.value());
}

absl::Status Spool::RecoverJob(const JobId& job) {
  const std::string dir = DirOf(job);
  TRIB_ASSIGN_OR_RETURN(const std::vector<std::string> listed, ListDirectory(dir));
  const std::set<std::string> names(listed.begin(), listed.end());
  std::set<std::string> wanted;
  for (const std::string& name : names) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(name, absl::MaxSplits('.', 1));
    WorkOrderId work_order = 0;
    if (parts.second != "header" || !absl::SimpleAtoi(parts.first, &work_order)) continue;
    const std::string complete = absl::StrCat(work_order, ".update");
    const std::string partial = absl::StrCat(work_order, ".upload");
    const std::string& payload = names.contains(complete) ? complete : partial;
    if (!names.contains(payload)) continue;
    const absl::Status status = RecoverUpload({job, work_order}, payload == complete);
    if (!status.ok()) {
      log::Warning("dropped an upload", {{"path", dir}, {"file", name}, {"error", status}});
      continue;
    }
    wanted.insert({name, payload});
  }
  for (const std::string& name : names) {
    if (!wanted.contains(name)) TRIB_RETURN_IF_ERROR(RemoveFile(absl::StrCat(dir, "/", name)));
  }
  if (wanted.empty()) rmdir(dir.c_str());
  return absl::OkStatus();
}

absl::Status Spool::RecoverUpload(const Key& key, bool complete) {
  auto upload = std::make_shared<SpooledUpload>(absl::StrCat(DirOf(key.first), "/", key.second));
  TRIB_ASSIGN_OR_RETURN(const Sidecar sidecar, ReadSidecar(upload->HeaderPath()));
  {
    MutexLock lock(upload->mu);
    upload->total = sidecar.total;
    upload->complete = complete;
  }
  MutexLock lock(mu_);
  uploads_[key] = {std::move(upload), sidecar.client, sidecar.total};
  quota_.Count(key.first, sidecar.client, sidecar.total);
  return absl::OkStatus();
}

Spool::UploadPtr Spool::Find(const Key& key) const {
  MutexLock lock(mu_);
  const auto found = uploads_.find(key);
  return found == uploads_.end() ? nullptr : found->second.upload;
}

absl::StatusOr<Spool::UploadPtr> Spool::Reserve(const UploadOwner& owner, uint64_t bytes) {
  const Key key{owner.job, owner.work_order};
  MutexLock lock(mu_);
  const auto found = uploads_.find(key);
  if (found != uploads_.end()) {
    Slot& known = found->second;
    if (known.upload->complete) return known.upload;
    quota_.GiveBack(key.first, known.client, known.reserved_bytes);
    const absl::Status taken = quota_.Take(key.first, owner.client, bytes);
    if (!taken.ok()) {
      quota_.Count(key.first, known.client, known.reserved_bytes);
      return taken;
    }
    known.client = owner.client;
    known.reserved_bytes = bytes;
    return known.upload;
  }
  TRIB_RETURN_IF_ERROR(quota_.Take(key.first, owner.client, bytes));
  auto upload = std::make_shared<SpooledUpload>(absl::StrCat(DirOf(key.first), "/", key.second));
  uploads_[key] = {upload, owner.client, bytes};
  return upload;
}

absl::Status Spool::CheckDisk(uint64_t bytes) {
  TRIB_ASSIGN_OR_RETURN(const uint64_t free, FreeBytes(bytes));
  if (free >= options_.min_free_bytes && bytes <= free - options_.min_free_bytes) {
    return absl::OkStatus();
  }
  return MarkExhausted(
      absl::ResourceExhaustedError(absl::StrCat(
          "the disk is full for now: ", bytes, " bytes wanted of ", free, " free, of which ",
          options_.min_free_bytes, " are kept (limits.min_free_bytes)")),
      kDisk);
}

absl::StatusOr<uint64_t> Spool::FreeBytes(uint64_t wanted) {
  const auto measure = [this] {
    return options_.free_bytes ? options_.free_bytes() : FreeDiskBytes(options_.dir);
  };
  TRIB_ASSIGN_OR_RETURN(const uint64_t free, measure());
  if (free >= options_.min_free_bytes && wanted <= free - options_.min_free_bytes) return free;
  RemoveSpares(nullptr);
  return measure();
}

// ---- spare files -----------------------------------------------------------------------

void Spool::KeepSpare(const JobId& job, const SpooledUpload& upload) {
  const uint64_t bytes = DiskBytesOf(upload.CompletePath());
  if (bytes < kSpareFrom) return;
  const std::string path = upload.SparePath();
  if (rename(upload.CompletePath().c_str(), path.c_str()) != 0) return;
  MutexLock lock(mu_);
  spares_[job].push_back({path, bytes});
  spare_bytes_ += bytes;
}

bool Spool::SparesAreTooMuch() const {
  MutexLock lock(mu_);
  return quota_.taken() + spare_bytes_ > options_.limits.total_bytes;
}

void Spool::UseSpare(const JobId& job, const SpooledUpload& upload) {
  Spare spare;
  {
    MutexLock lock(mu_);
    const auto found = spares_.find(job);
    if (found == spares_.end()) return;
    spare = std::move(found->second.back());
    found->second.pop_back();
    if (found->second.empty()) spares_.erase(found);
    spare_bytes_ -= spare.bytes;
  }
  rename(spare.path.c_str(), upload.PartialPath().c_str());  // if it fails, a new file is made
}

void Spool::RemoveSpares(const JobId* job) {
  std::vector<Spare> spares;
  {
    MutexLock lock(mu_);
    for (auto of_job = spares_.begin(); of_job != spares_.end();) {
      if (job != nullptr && of_job->first != *job) {
        ++of_job;
        continue;
      }
      for (Spare& spare : of_job->second) {
        spare_bytes_ -= spare.bytes;
        spares.push_back(std::move(spare));
      }
      of_job = spares_.erase(of_job);
    }
  }
  for (const Spare& spare : spares) RemoveFile(spare.path).IgnoreError();  // the next start does
}

absl::StatusOr<std::unique_ptr<UploadFile>> Spool::Begin(const UploadOwner& owner,
                                                         uint64_t total_bytes,
                                                         absl::string_view header) {
  if (!IsValidId(owner.job.value()) || !IsValidId(owner.client.value()) || owner.work_order < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("upload: job '", owner.job.value(), "', client '", owner.client.value(),
                     "', work order ", owner.work_order, ": not a valid id"));
  }
  const Sidecar sidecar{total_bytes, owner.client, std::string(header)};
  for (;;) {
    TRIB_ASSIGN_OR_RETURN(const UploadPtr upload, Reserve(owner, total_bytes));
    MutexLock lock(upload->mu);
    if (upload->removed) continue;  // since Reserve
    if (upload->complete) {
      return absl::AlreadyExistsError(absl::StrCat("the upload ", upload->base, " is complete"));
    }
    const int64_t writer = ++upload->writer;
    upload->total = total_bytes;
    const bool begun = DiskBytesOf(upload->HeaderPath()) > 0;
    if (!begun) UseSpare(owner.job, *upload);
    if (SparesAreTooMuch()) RemoveSpares(nullptr);
    const uint64_t there = DiskBytesOf(upload->PartialPath());
    const absl::Status room = CheckDisk(total_bytes - std::min(there, total_bytes));
    const auto size = room.ok() ? OpenPartial(*upload, sidecar) : absl::StatusOr<uint64_t>(room);
    if (size.ok()) return std::make_unique<UploadFile>(upload, writer, *size);
    if (!begun) {
      RemoveFiles(*upload).IgnoreError();
      Unreserve({owner.job, owner.work_order});
    }
    return size.status();
  }
}

absl::StatusOr<File> Spool::OpenPayload(const JobId& job, WorkOrderId work_order) const {
  const UploadPtr upload = Find({job, work_order});
  if (upload != nullptr) {
    MutexLock lock(upload->mu);
    if (upload->complete && !upload->removed) {
      TRIB_ASSIGN_OR_RETURN(File file, File::Open(upload->CompletePath(), O_RDONLY));
      TRIB_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
      if (size == upload->total) return file;
      return absl::DataLossError(absl::StrCat(upload->CompletePath(), " is damaged: it has ", size,
                                              " bytes, expected ", upload->total));
    }
  }
  return absl::NotFoundError(
      absl::StrCat("no complete upload of work order ", work_order, " of job '", job.value(), "'"));
}

absl::StatusOr<std::vector<Spool::Entry>> Spool::List() const {
  std::vector<std::pair<Key, UploadPtr>> uploads;
  {
    MutexLock lock(mu_);
    for (const auto& [key, slot] : uploads_) uploads.emplace_back(key, slot.upload);
  }
  std::vector<Entry> entries;
  for (const auto& [key, upload] : uploads) {
    MutexLock lock(upload->mu);
    if (upload->removed) continue;
    TRIB_ASSIGN_OR_RETURN(Sidecar sidecar, ReadSidecar(upload->HeaderPath()));
    entries.push_back({{key.first, key.second, std::move(sidecar.client)},
                       std::move(sidecar.header),
                       upload->total,
                       upload->complete});
  }
  return entries;
}

absl::Status Spool::Keep(const JobId& job, WorkOrderId work_order, const std::string& path) {
  const UploadPtr upload = Find({job, work_order});
  if (upload == nullptr) return absl::OkStatus();
  MutexLock lock(upload->mu);
  if (upload->removed || !upload->complete) return absl::OkStatus();
  TRIB_RETURN_IF_ERROR(RenameFile(upload->CompletePath(), path));
  TRIB_RETURN_IF_ERROR(RemoveFiles(*upload));
  Unreserve({job, work_order});
  return absl::OkStatus();
}

absl::Status Spool::Remove(const JobId& job, WorkOrderId work_order) {
  const UploadPtr upload = Find({job, work_order});
  if (upload == nullptr) return absl::OkStatus();
  MutexLock lock(upload->mu);
  if (upload->removed) return absl::OkStatus();
  if (upload->complete) KeepSpare(job, *upload);
  TRIB_RETURN_IF_ERROR(RemoveFiles(*upload));
  Unreserve({job, work_order});
  return absl::OkStatus();
}

void Spool::Unreserve(const Key& key) {
  MutexLock lock(mu_);
  const auto found = uploads_.find(key);
  quota_.GiveBack(key.first, found->second.client, found->second.reserved_bytes);
  uploads_.erase(found);
}

absl::Status Spool::RemoveJob(const JobId& job) {
  std::vector<WorkOrderId> work_orders;
  {
    MutexLock lock(mu_);
    for (const auto& [key, slot] : uploads_) {
      if (key.first == job) work_orders.push_back(key.second);
    }
  }
  for (const WorkOrderId work_order : work_orders) {
    TRIB_RETURN_IF_ERROR(Remove(job, work_order));
  }
  RemoveSpares(&job);
  if (IsValidId(job.value())) rmdir(DirOf(job).c_str());
  return absl::OkStatus();
}

uint64_t Spool::reserved_bytes() const {
  MutexLock lock(mu_);
  return quota_.taken();
}

}  // namespace tributary
