#include "client_sdk/internal/program_cache.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/downloader.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

constexpr int kMaxWholeFailures = 3;

absl::StatusOr<std::string> Fetch(Connection& connection, const JobId& job,
                                  const ProgramSpec& program, const TransferOptions& options,
                                  Retry& retry) {
  std::string bytes;
  const auto take = [&](const Chunk& chunk) -> absl::Status {
    TRIB_RETURN_IF_ERROR(CheckChunk(chunk, static_cast<int64_t>(bytes.size()), program.bytes));
    bytes.append(chunk.data.data(), chunk.data.size());
    if (options.progress) options.progress(static_cast<int64_t>(bytes.size()), program.bytes);
    return absl::OkStatus();
  };
  for (int whole_failures = 0;;) {
    const ProgramRequest request{.job = job, .offset = static_cast<int64_t>(bytes.size())};
    absl::Status status = connection.FetchProgram(request, take, options.stop);
    const auto received = static_cast<int64_t>(bytes.size());
    if (received > request.offset) retry.Succeeded();
    if (status.ok() && received < program.bytes) {
      status = absl::UnavailableError(
          absl::StrCat("the program's transfer ended early, at byte ", received));
    }
    if (status.ok()) {
      const absl::Status right = CheckProgram(program, bytes);
      if (right.ok()) return bytes;
      status = absl::DataLossError(right.message());
      bytes.clear();
      if (++whole_failures == kMaxWholeFailures) return status;
    }
    TRIB_RETURN_IF_ERROR(retry.AfterFailure(status));
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<const std::string>> ProgramCache::Get(
    Connection& connection, const JobId& job, const ProgramSpec& program, int64_t max_bytes,
    const TransferOptions& options, Retry& retry) {
  if (held_ != nullptr && sha256_ == program.sha256) return held_;
  if (program.bytes > max_bytes) {
    return absl::OutOfRangeError(absl::StrCat("the program has ", program.bytes,
                                              " bytes, more than max_model_bytes ", max_bytes));
  }
  auto bytes = Load(program);
  const bool is_new = !bytes.ok();
  if (is_new) {
    TRIB_ASSIGN_OR_RETURN(bytes, Fetch(connection, job, program, options, retry));
  }
  held_ = std::make_shared<const std::string>(*std::move(bytes));
  sha256_ = program.sha256;
  if (is_new) Save(program);
  return held_;
}

absl::StatusOr<std::string> ProgramCache::Load(const ProgramSpec& program) const {
  if (directory_.empty()) return absl::NotFoundError("in memory only");
  auto bytes = ReadWholeFile(PathOf(program));
  if (absl::IsNotFound(bytes.status())) return bytes;
  const absl::Status right = bytes.ok() ? CheckProgram(program, *bytes) : bytes.status();
  if (right.ok()) return bytes;
  log::Warning("cached program not used", {{"path", PathOf(program)}, {"error", right}});
  return right;
}

void ProgramCache::Save(const ProgramSpec& program) const {
  if (directory_.empty()) return;
  absl::Status saved = CreateDirectory(directory_);
  if (saved.ok()) saved = WriteFileAtomically(PathOf(program), *held_);
  if (!saved.ok()) {
    log::Warning("program not cached", {{"path", PathOf(program)}, {"error", saved}});
  }
}

std::string ProgramCache::PathOf(const ProgramSpec& program) const {
  return absl::StrCat(directory_, "/", program.sha256, ".pt");
}

}  // namespace tributary::sdk
