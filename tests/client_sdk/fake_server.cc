#include "tests/client_sdk/fake_server.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

template <typename T>
std::optional<T> PopFront(std::deque<T>& script) {
  if (script.empty()) return std::nullopt;
  T next = std::move(script.front());
  script.pop_front();
  return next;
}

}  // namespace

WorkOrder MakeOrder(WorkKind kind, WorkOrderId id, Version version, uint64_t seed) {
  WorkOrder order;
  order.job = {.id = JobId("job-1"), .name = "test", .model_json = "{}", .train_json = "{}"};
  order.id = id;
  order.kind = kind;
  order.version = version;
  order.seed = seed;
  return order;
}

std::vector<ProgressReport> FakeServer::progress() const {
  MutexLock lock(mu_);
  return progress_;
}

absl::StatusOr<ServerLimits> FakeServer::Enroll(std::stop_token stop) {
  ++enrol_calls;
  if (stop.stop_requested()) return absl::CancelledError("stop");
  if (auto next = PopFront(enrolments); next && !next->ok()) return *next;
  return limits;
}

absl::StatusOr<CheckInAnswer> FakeServer::CheckIn(absl::Duration max_wait, int64_t task,
                                                  std::stop_token stop) {
  max_waits.push_back(max_wait);
  tasks.push_back(task);
  if (stop.stop_requested()) return absl::CancelledError("stop");
  if (auto next = PopFront(check_ins)) return *next;
  return no_work;
}

std::string FakeServer::DeltasFor(const FetchRequest& request, ModelHeader& header) const {
  if (!request.have_version) return "";
  const auto held = models.find(*request.have_version);
  if (held == models.end() || held->second.ComputeDigest() != request.have_digest) return "";
  std::string chain;
  std::vector<DeltaPart> parts;
  for (Version version = *request.have_version + 1; version <= request.version; ++version) {
    const auto delta = deltas.find(version);
    if (delta == deltas.end()) return "";
    chain += delta->second;
    parts.push_back({.version = version, .bytes = static_cast<int64_t>(delta->second.size())});
  }
  if (parts.empty()) return "";
  header.deltas = std::move(parts);
  header.total_bytes = static_cast<int64_t>(chain.size());
  return chain;
}

absl::Status FakeServer::FetchModel(const FetchRequest& request, ModelSink& sink,
                                    std::stop_token stop) {
  const int64_t call = fetch_calls++;
  fetches.push_back(request);
  const auto found = models.find(request.version);
  if (found == models.end()) return absl::NotFoundError("no such version");
  const ParamVector& model = found->second;
  ModelHeader header{.job = request.job, .version = request.version, .layout = model.layout()};
  header.model_digest = model.ComputeDigest();
  header.total_bytes = model.layout()->size() * 4;
  bool unchanged = request.have_digest && *request.have_digest == header.model_digest;
  const std::string chain = DeltasFor(request, header);
  if (edit_header) edit_header(header, unchanged);
  TRIB_RETURN_IF_ERROR(sink.OnHeader(header, unchanged));
  if (unchanged) return absl::OkStatus();

  const absl::string_view values(reinterpret_cast<const char*>(model.values().data()),
                                 model.values().size() * 4);
  const absl::string_view bytes = chain.empty() ? values : absl::string_view(chain);
  return SendChunks(
      bytes, request.offset, call, [&sink](const Chunk& chunk) { return sink.OnChunk(chunk); },
      stop);
}

absl::Status FakeServer::FetchProgram(const ProgramRequest& request, const TakeChunk& take,
                                      std::stop_token stop) {
  return SendChunks(program, request.offset, program_calls++, take, stop);
}

absl::Status FakeServer::SendChunks(absl::string_view bytes, int64_t offset, int64_t call,
                                    const TakeChunk& take, const std::stop_token& stop) {
  for (int64_t index = 0; offset < static_cast<int64_t>(bytes.size()); ++index) {
    if (stop.stop_requested()) return absl::CancelledError("stop");
    if (fetch_fault) TRIB_RETURN_IF_ERROR(fetch_fault(call, index));
    std::string data(
        bytes.substr(static_cast<size_t>(offset), static_cast<size_t>(limits.max_chunk_bytes)));
    const uint64_t xxh3 = Xxh3(data);
    if (damage_fetch) damage_fetch(data);
    fetched_bytes += static_cast<int64_t>(data.size());
    TRIB_RETURN_IF_ERROR(take({.offset = offset, .data = data, .xxh3 = xxh3}));
    offset += static_cast<int64_t>(data.size());
  }
  return absl::OkStatus();
}

absl::Status FakeServer::StoreChunk(Upload& upload, const Chunk& chunk, int64_t index) {
  sent_bytes += static_cast<int64_t>(chunk.data.size());
  if (static_cast<int64_t>(chunk.data.size()) > limits.max_chunk_bytes || chunk.data.empty()) {
    return absl::InvalidArgumentError("chunk size");
  }
  if (chunk.offset > static_cast<int64_t>(upload.payload.size())) {
    return absl::OutOfRangeError("a gap");
  }
  if (chunk.offset < static_cast<int64_t>(upload.payload.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("chunk at ", chunk.offset, ", expected ", upload.payload.size()));
  }
  if (Xxh3(chunk.data) != chunk.xxh3) return absl::DataLossError("chunk checksum");
  const ChunkFate fate = upload_fault ? upload_fault(upload_calls - 1, index) : ChunkFate::kStored;
  if (fate == ChunkFate::kStored || fate == ChunkFate::kStoredThenLost) {
    upload.payload.append(chunk.data.data(), chunk.data.size());
  }
  if (fate == ChunkFate::kRolledBack) {
    const size_t chunk_size = static_cast<size_t>(limits.max_chunk_bytes);
    upload.payload.resize(upload.payload.size() - std::min(upload.payload.size(), chunk_size));
  }
  return fate == ChunkFate::kStored ? absl::OkStatus() : absl::UnavailableError("broken");
}

absl::StatusOr<UploadAnswer> FakeServer::UploadUpdate(const UpdateHeader& header,
                                                      const ChunkSource& chunks,
                                                      std::stop_token stop) {
  const int64_t call = upload_calls++;
  Upload& upload = uploads[header.info.work_order];
  upload.header = header;
  UploadAnswer answer{.state = UploadAnswer::State::kAccepted, .durable_bytes = header.total_bytes};
  if (upload.accepted) return answer;
  if (const auto window = put_off ? put_off(call) : std::nullopt) {
    return UploadAnswer{
        .state = UploadAnswer::State::kRetry, .message = "no room", .retry = *window};
  }
  if (upload_verdict) {
    if (upload_verdict->state == UploadAnswer::State::kPartial) {
      while (chunks()) {
      }
    }
    return *upload_verdict;
  }
  for (int64_t index = 0; const std::optional<Chunk> chunk = chunks(); ++index) {
    if (stop.stop_requested()) return absl::CancelledError("stop");
    TRIB_RETURN_IF_ERROR(StoreChunk(upload, *chunk, index));
  }
  answer.durable_bytes = static_cast<int64_t>(upload.payload.size());
  if (answer.durable_bytes < header.total_bytes) {
    answer.state = UploadAnswer::State::kPartial;
    return answer;
  }
  Xxh3Stream whole;
  whole.Update(upload.payload);
  if (whole.Value() != header.xxh128) {
    return UploadAnswer{.state = UploadAnswer::State::kRefused, .refusal = "corrupt"};
  }
  upload.accepted = true;
  if (upload_answer_fault) TRIB_RETURN_IF_ERROR(upload_answer_fault(call));
  return answer;
}

absl::StatusOr<EvaluationAnswer> FakeServer::ReportEvaluation(const EvaluationReport& report,
                                                              std::stop_token stop) {
  if (stop.stop_requested()) return absl::CancelledError("stop");
  reports.push_back(report);
  if (auto next = PopFront(report_answers)) return *next;
  return EvaluationAnswer{.counted = true};
}

absl::StatusOr<bool> FakeServer::ReportProgress(const ProgressReport& report, std::stop_token) {
  {
    MutexLock lock(mu_);
    progress_.push_back(report);
  }
  return on_progress ? on_progress() : true;
}

absl::Status FakeServer::AbandonWork(const AbandonNotice& notice) {
  abandoned.push_back(notice);
  return absl::OkStatus();
}

}  // namespace tributary::sdk
