#include "server/live/upload_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr uint64_t kSyncEveryBytes = uint64_t{8} << 20;

}  // namespace

UploadStream::UploadStream(UploadHeader header, std::unique_ptr<UpdateCheck> check, Executor* pool,
                           Spool* spool, const Clock* clock)
    : header_(std::move(header)),
      spool_(spool),
      clock_(clock),
      last_sign_ns_(absl::ToUnixNanos(clock->Now())),
      check_(std::move(check)),
      lane_(pool) {}

void UploadStream::Open(Callback<uint64_t> done) {
  lane_.Run([self = shared_from_this(), done = std::move(done)]() mutable {
    std::move(done)(self->DoOpen());
  });
}

void UploadStream::Append(uint64_t offset, std::string data, uint64_t xxh3, DoneCallback done) {
  last_sign_ns_ = absl::ToUnixNanos(clock_->Now());
  lane_.Run([self = shared_from_this(), offset, data = std::move(data), xxh3,
             done = std::move(done)]() mutable {
    const absl::Status status = self->DoAppend(offset, data, xxh3);
    data = std::string();
    std::move(done)(status);
  });
}

void UploadStream::Finish(Callback<uint64_t> done) {
  last_sign_ns_ = absl::ToUnixNanos(clock_->Now());
  lane_.Run([self = shared_from_this(), done = std::move(done)]() mutable {
    std::move(done)(self->DoFinish());
  });
}

absl::StatusOr<uint64_t> UploadStream::DoOpen() {
  // The spool compares checksums to tell whether a later header speaks of the same bytes.
  auto file = spool_->Begin({header_.job, header_.info.work_order, header_.client},
                            header_.total_bytes, header_.checksum.ToHex());
  if (absl::IsAlreadyExists(file.status())) {
    resumed_at_ = header_.total_bytes;
    return header_.total_bytes;
  }
  TRIB_RETURN_IF_ERROR(file.status());
  file_ = *std::move(file);
  resumed_at_ = file_->size();
  return file_->durable_bytes();
}

absl::Status UploadStream::DoAppend(uint64_t offset, absl::string_view data, uint64_t xxh3) {
  if (Xxh3(data) != xxh3) {
    return absl::DataLossError(absl::StrCat("chunk at offset ", offset, " (", data.size(),
                                            " bytes): its XXH3-64 differs from the one sent"));
  }
  if (file_ == nullptr) return absl::OkStatus();  // complete: nothing is missing
  if (offset > file_->size()) {
    return absl::OutOfRangeError(
        absl::StrCat("chunk at offset ", offset, " leaves a gap: go on at ", file_->size()));
  }
  const uint64_t known = file_->size() - offset;
  if (known >= data.size()) return absl::OkStatus();
  const absl::string_view fresh = data.substr(known);
  TRIB_RETURN_IF_ERROR(file_->Append(file_->size(), fresh));
  received_.Update(fresh);
  if (check_ != nullptr && resumed_at_ == 0) check_->Take(fresh);
  if (file_->size() - file_->durable_bytes() < kSyncEveryBytes) return absl::OkStatus();
  return file_->Sync().status();
}

absl::StatusOr<uint64_t> UploadStream::DoFinish() {
  if (file_ == nullptr) return header_.total_bytes;
  if (file_->size() < header_.total_bytes) return file_->Sync();
  TRIB_RETURN_IF_ERROR(file_->Finish());
  return header_.total_bytes;
}

}  // namespace tributary
