#include "server/rpc/export_stream.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "common/digest.h"
#include "common/status_macros.h"

namespace tributary {

void ExportStream::Send(JobExport made, const std::set<std::string>& have) {
  files_.push_back({.name = "events.jsonl", .text = std::move(made.events), .path = ""});
  files_.push_back({.name = "metrics.csv", .text = std::move(made.metrics), .path = ""});
  for (JobExport::KeptFile& kept : made.kept) {
    const std::string name = "updates/" + kept.name;
    if (!have.contains(name)) files_.push_back({.name = name, .text = "", .path = kept.path});
  }
  // Last: a folder with a summary is whole.
  files_.push_back({.name = "summary.json", .text = std::move(made.summary), .path = ""});
  response_.mutable_header()->set_job_id(made.job.value());
  response_.mutable_header()->set_version(made.version);
  StartWrite(&response_);
}

void ExportStream::OnWriteDone(bool ok) {
  response_.Clear();
  if (held_ > 0) budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
  if (!ok) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller is gone"));
  if (open_ && sent_ == file_bytes_) {
    files_.pop_front();
    open_ = false;
  }
  if (files_.empty()) return Finish(grpc::Status::OK);
  Next();
}

void ExportStream::Next() {
  if (!open_) {
    return deps_->pool->Run([this] {
      if (const absl::Status opened = OpenNextFile(); !opened.ok()) return Fail(opened);
      StartWrite(&response_);
    });
  }
  held_ =
      std::min<uint64_t>(static_cast<uint64_t>(deps_->limits.max_chunk_bytes), file_bytes_ - sent_);
  budget_->Acquire(static_cast<int64_t>(held_), [this] {
    deps_->pool->Run([this] {
      const absl::Status read = ReadChunk();
      if (read.ok()) return StartWrite(&response_);
      budget_->Release(static_cast<int64_t>(std::exchange(held_, 0)));
      Fail(read);
    });
  });
}

absl::Status ExportStream::OpenNextFile() {
  const Entry& entry = files_.front();
  file_ = File();
  file_bytes_ = entry.text.size();
  if (!entry.path.empty()) {
    TRIB_ASSIGN_OR_RETURN(file_, File::Open(entry.path, O_RDONLY));
    TRIB_ASSIGN_OR_RETURN(file_bytes_, file_.Size());
  }
  sent_ = 0;
  open_ = true;
  response_.mutable_file()->set_name(entry.name);
  response_.mutable_file()->set_total_bytes(file_bytes_);
  return absl::OkStatus();
}

absl::Status ExportStream::ReadChunk() {
  v1::Chunk& chunk = *response_.mutable_chunk();
  if (file_.is_open()) {
    chunk.mutable_data()->resize(held_);
    TRIB_RETURN_IF_ERROR(file_.ReadAt(sent_, chunk.mutable_data()->data(), held_));
  } else {
    chunk.set_data(files_.front().text.substr(sent_, held_));
  }
  chunk.set_offset(sent_);
  chunk.set_xxh3(Xxh3(chunk.data()));
  sent_ += held_;
  return absl::OkStatus();
}

}  // namespace tributary
