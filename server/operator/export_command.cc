#include "server/operator/export_command.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/cli/format.h"
#include "common/digest.h"
#include "common/ids.h"
#include "common/status_macros.h"
#include "server/operator/model_commands.h"
#include "server/operator/new_file.h"
#include "server/operator/transfer.h"

namespace tributary::op {
namespace {

constexpr char kSummary[] = "summary.json";
constexpr char kUpdates[] = "updates/";
constexpr int kAttempts = 3;

// A server must not name a file outside the folder.
bool IsSafeName(absl::string_view name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  return parts.size() <= 2 && std::all_of(parts.begin(), parts.end(), IsValidId);
}

absl::Status FolderError(const std::string& dir, const std::error_code& error) {
  return absl::FailedPreconditionError(absl::StrCat(dir, ": ", error.message()));
}

// Makes the folder, and takes away what would lie about the new export.
absl::Status Prepare(const std::filesystem::path& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (!error) std::filesystem::remove(dir / kSummary, error);
  if (error) return FolderError(dir.string(), error);
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(dir / kUpdates, error)) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() == ".update" || path.extension() == ".safetensors") old.push_back(path);
  }
  error.clear();  // there may be none
  for (const auto& path : old) {
    if (!std::filesystem::remove(path, error)) return FolderError(path.string(), error);
  }
  return absl::OkStatus();
}

class Export {
 public:
  Export(Connection& connection, const std::string& job_id, std::string dir)
      : connection_(connection), dir_(std::move(dir)) {
    request_.set_job_id(job_id);
  }

  absl::Status Run(const Console& console) {
    TRIB_RETURN_IF_ERROR(Prepare(dir_));
    absl::Status model;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      TRIB_RETURN_IF_ERROR(DownloadFiles(console));
      model = DownloadModel(console);
      // NotFound: a running job has published so many more that this one is no longer kept.
      if (!absl::IsNotFound(model)) break;
    }
    TRIB_RETURN_IF_ERROR(model);
    return summary_->Commit();
  }

  const v1::ExportHeader& header() const { return header_; }
  int updates() const { return request_.have_size(); }
  uint64_t bytes() const { return bytes_; }  // received

 private:
  absl::Status DownloadFiles(const Console& console) {
    Patience patience(console);
    for (;;) {
      const int before = request_.have_size();
      const absl::Status status = RunStream();
      if (!has_header_ || !IsBrokenTransfer(status) ||
          !patience.TryAgain(status, request_.have_size() > before,
                             name_.empty() ? "its start" : name_)) {
        return status;
      }
    }
  }

  absl::Status DownloadModel(const Console& console) {
    if (header_.version() < 0) return absl::OkStatus();
    return op::DownloadModel(console, connection_, header_.job_id(), header_.version(),
                             dir_ + "/model.safetensors")
        .status();
  }

  absl::Status RunStream() {
    file_ = nullptr;
    summary_ = nullptr;
    grpc::ClientContext context;
    const auto stream = connection_.stub().ExportJob(&context, request_);
    v1::ExportJobResponse response;
    absl::Status taken;
    while (taken.ok() && stream->Read(&response)) taken = Take(response);
    if (!taken.ok()) {
      context.TryCancel();
      stream->Finish();
      return taken;
    }
    TRIB_RETURN_IF_ERROR(connection_.ToStatus(stream->Finish()));
    if (summary_ != nullptr) return absl::OkStatus();
    return absl::UnavailableError("the stream ended early");
  }

  absl::Status Take(const v1::ExportJobResponse& response) {
    if (response.has_chunk()) return Take(response.chunk());
    if (response.has_file()) return Begin(response.file());
    header_ = response.header();
    has_header_ = true;
    return absl::OkStatus();
  }

  absl::Status Begin(const v1::ExportedFile& file) {
    if (file_ != nullptr || !has_header_ || !IsSafeName(file.name())) {
      return absl::InternalError(
          absl::StrCat("the server sent a file out of place: '", file.name(), "'"));
    }
    name_ = file.name();
    missing_ = file.total_bytes();
    offset_ = 0;
    if (absl::StartsWith(name_, kUpdates)) {
      std::error_code error;
      std::filesystem::create_directories(dir_ + "/" + kUpdates, error);
      if (error) return FolderError(dir_, error);
    }
    file_ = std::make_unique<NewFile>(absl::StrCat(dir_, "/", name_));
    TRIB_RETURN_IF_ERROR(file_->Open());
    return missing_ == 0 ? Complete() : absl::OkStatus();
  }

  absl::Status Take(const v1::Chunk& chunk) {
    if (file_ == nullptr || chunk.offset() != offset_ || chunk.data().size() > missing_ ||
        Xxh3(chunk.data()) != chunk.xxh3()) {
      return absl::DataLossError(absl::StrCat(name_, ": a bad chunk at byte ", chunk.offset()));
    }
    TRIB_RETURN_IF_ERROR(file_->Write(chunk.data()));
    offset_ += chunk.data().size();
    missing_ -= chunk.data().size();
    bytes_ += chunk.data().size();
    return missing_ == 0 ? Complete() : absl::OkStatus();
  }

  absl::Status Complete() {
    if (name_ == kSummary) {
      summary_ = std::move(file_);
      return absl::OkStatus();
    }
    TRIB_RETURN_IF_ERROR(file_->Commit());
    file_ = nullptr;
    if (absl::StartsWith(name_, kUpdates)) request_.add_have(name_);
    return absl::OkStatus();
  }

  Connection& connection_;
  const std::string dir_;
  v1::ExportJobRequest request_;
  v1::ExportHeader header_;
  bool has_header_ = false;
  std::string name_;  // of the file under way, or of the last one
  std::unique_ptr<NewFile> file_;
  uint64_t offset_ = 0;
  uint64_t missing_ = 0;              // bytes of it
  std::unique_ptr<NewFile> summary_;  // complete; gets its name at the very end
  uint64_t bytes_ = 0;
};

}  // namespace

ExitCode ExportJob(const Console& console, Connection& connection, const std::string& job_id,
                   const std::string& dir) {
  Export job(connection, job_id, dir);
  if (const absl::Status status = job.Run(console); !status.ok()) {
    return FailTransfer(console, status);
  }
  if (console.json) {
    console.PrintJson({{"job_id", job.header().job_id()},
                       {"version", job.header().version()},
                       {"kept_files", job.updates()},
                       {"bytes", job.bytes()},
                       {"path", dir}});
  } else {
    console.out << job.header().job_id() << " at version " << job.header().version() << " -> "
                << dir << " (" << cli::FormatBytes(static_cast<double>(job.bytes())) << ", "
                << job.updates() << " kept files)\n";
  }
  return ExitCode::kDone;
}

}  // namespace tributary::op
