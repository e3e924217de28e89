#include "server/live/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "server/store/durable_file.h"

namespace tributary {

struct SpooledUpload {
  explicit SpooledUpload(std::string base_path) : base(std::move(base_path)) {}

  std::string HeaderPath() const { return base + ".header"; }
  std::string PartialPath() const { return base + ".upload"; }
  std::string CompletePath() const { return base + ".update"; }

  const std::string base;
  std::atomic<bool> complete = false;  // set under mu
  Mutex mu;
  bool removed ABSL_GUARDED_BY(mu) = false;
  int64_t writer ABSL_GUARDED_BY(mu) = 0;  // the newest UploadFile; the others are stale
  uint64_t total ABSL_GUARDED_BY(mu) = 0;
  File file ABSL_GUARDED_BY(mu);
};

namespace {

constexpr size_t kTotalBytes = 8;

std::string EncodeSidecar(uint64_t total, absl::string_view header) {
  std::string sidecar;
  for (size_t i = 0; i < kTotalBytes; ++i) sidecar.push_back(static_cast<char>(total >> (8 * i)));
  return absl::StrCat(sidecar, header);
}

uint64_t TotalOf(absl::string_view sidecar) {
  uint64_t total = 0;
  for (size_t i = 0; i < kTotalBytes; ++i) {
    total |= uint64_t{static_cast<uint8_t>(sidecar[i])} << (8 * i);
  }
  return total;
}

absl::StatusOr<std::string> ReadSidecar(const std::string& path) {
  TRIB_ASSIGN_OR_RETURN(std::string sidecar, ReadWholeFile(path));
  if (sidecar.size() >= kTotalBytes) return sidecar;
  return absl::DataLossError(absl::StrCat(path, " is damaged: it has ", sidecar.size(),
                                          " bytes, expected at least ", kTotalBytes));
}

// Opens the file to write on, and returns how much of it is there and durable.
absl::StatusOr<uint64_t> OpenPartial(SpooledUpload& upload, absl::string_view header)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  const std::string dir = upload.base.substr(0, upload.base.rfind('/'));
  const std::string wanted = EncodeSidecar(upload.total, header);
  const absl::StatusOr<std::string> found = ReadSidecar(upload.HeaderPath());
  if (!found.ok() || *found != wanted) {
    TRIB_RETURN_IF_ERROR(CreateDirectory(dir));
    TRIB_RETURN_IF_ERROR(RemoveFile(upload.PartialPath()));
    TRIB_RETURN_IF_ERROR(SyncDirectory(dir));
    TRIB_RETURN_IF_ERROR(WriteFileAtomically(upload.HeaderPath(), wanted));
  }
  TRIB_ASSIGN_OR_RETURN(upload.file, File::Open(upload.PartialPath(), O_WRONLY | O_CREAT));
  TRIB_ASSIGN_OR_RETURN(uint64_t size, upload.file.Size());
  if (size > upload.total) {
    TRIB_RETURN_IF_ERROR(upload.file.Truncate(0));
    size = 0;
  }
  TRIB_RETURN_IF_ERROR(upload.file.Sync());
  TRIB_RETURN_IF_ERROR(SyncDirectory(dir));
  return size;
}

absl::Status CheckWriter(const SpooledUpload& upload, int64_t writer)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  if (!upload.removed && upload.writer == writer) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("the upload ", upload.base,
                                         upload.removed ? " was removed" : " was taken over"));
}

absl::Status RemoveFiles(SpooledUpload& upload) ABSL_EXCLUSIVE_LOCKS_REQUIRED(upload.mu) {
  upload.file = File();
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
  if (upload_->writer == writer_) upload_->file = File();
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
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> UploadFile::Sync() {
  MutexLock lock(upload_->mu);
  TRIB_RETURN_IF_ERROR(CheckWriter(*upload_, writer_));
  if (durable_ != size_) TRIB_RETURN_IF_ERROR(upload_->file.Sync());
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
  upload_->file = File();
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
  TRIB_ASSIGN_OR_RETURN(const std::string sidecar, ReadSidecar(upload->HeaderPath()));
  const uint64_t total = TotalOf(sidecar);
  {
    MutexLock lock(upload->mu);
    upload->total = total;
    upload->complete = complete;
  }
  MutexLock lock(mu_);
  uploads_[key] = {std::move(upload), total};
  reserved_bytes_ += total;
  return absl::OkStatus();
}

Spool::UploadPtr Spool::Find(const Key& key) const {
  MutexLock lock(mu_);
  const auto found = uploads_.find(key);
  return found == uploads_.end() ? nullptr : found->second.upload;
}

absl::StatusOr<Spool::UploadPtr> Spool::Reserve(const Key& key, uint64_t bytes) {
  MutexLock lock(mu_);
  const auto found = uploads_.find(key);
  const bool known = found != uploads_.end();
  if (known && found->second.upload->complete) return found->second.upload;
  const uint64_t others = reserved_bytes_ - (known ? found->second.reserved_bytes : 0);
  if (others > options_.max_total_bytes || bytes > options_.max_total_bytes - others) {
    return absl::ResourceExhaustedError(absl::StrCat("the spool is full: ", bytes, " bytes beside ",
                                                     others, " taken of ",
                                                     options_.max_total_bytes));
  }
  Slot& slot = uploads_[key];
  if (slot.upload == nullptr) {
    slot.upload = std::make_shared<SpooledUpload>(absl::StrCat(DirOf(key.first), "/", key.second));
  }
  slot.reserved_bytes = bytes;
  reserved_bytes_ = others + bytes;
  return slot.upload;
}

absl::StatusOr<std::unique_ptr<UploadFile>> Spool::Begin(const JobId& job, WorkOrderId work_order,
                                                         uint64_t total_bytes,
                                                         absl::string_view header) {
  if (!IsValidId(job.value()) || work_order < 1) {
    return absl::InvalidArgumentError(absl::StrCat("upload: job '", job.value(), "', work order ",
                                                   work_order, ": not a valid id"));
  }
  for (;;) {
    TRIB_ASSIGN_OR_RETURN(const UploadPtr upload, Reserve({job, work_order}, total_bytes));
    MutexLock lock(upload->mu);
    if (upload->removed) continue;  // since Reserve
    if (upload->complete) {
      return absl::AlreadyExistsError(absl::StrCat("the upload ", upload->base, " is complete"));
    }
    const int64_t writer = ++upload->writer;
    upload->total = total_bytes;
    TRIB_ASSIGN_OR_RETURN(const uint64_t size, OpenPartial(*upload, header));
    return std::make_unique<UploadFile>(upload, writer, size);
  }
}

absl::StatusOr<std::string> Spool::ReadPayload(const JobId& job, WorkOrderId work_order) const {
  const UploadPtr upload = Find({job, work_order});
  if (upload != nullptr) {
    MutexLock lock(upload->mu);
    if (upload->complete && !upload->removed) {
      TRIB_ASSIGN_OR_RETURN(std::string payload, ReadWholeFile(upload->CompletePath()));
      if (payload.size() == upload->total) return payload;
      return absl::DataLossError(absl::StrCat(upload->CompletePath(), " is damaged: it has ",
                                              payload.size(), " bytes, expected ", upload->total));
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
    if (!upload->complete || upload->removed) continue;
    TRIB_ASSIGN_OR_RETURN(const std::string sidecar, ReadSidecar(upload->HeaderPath()));
    entries.push_back({key.first, key.second, sidecar.substr(kTotalBytes), upload->total});
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
  TRIB_RETURN_IF_ERROR(RemoveFiles(*upload));
  Unreserve({job, work_order});
  return absl::OkStatus();
}

void Spool::Unreserve(const Key& key) {
  MutexLock lock(mu_);
  const auto found = uploads_.find(key);
  reserved_bytes_ -= found->second.reserved_bytes;
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
  if (IsValidId(job.value())) rmdir(DirOf(job).c_str());
  return absl::OkStatus();
}

uint64_t Spool::reserved_bytes() const {
  MutexLock lock(mu_);
  return reserved_bytes_;
}

}  // namespace tributary
