#include "client_sdk/internal/grpc_connection.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/proto_convert.h"
#include "common/status_macros.h"
#include "grpc/support/time.h"
#include "grpcpp/grpcpp.h"
#include "proto/chunk_message.h"

namespace tributary::sdk {
namespace {

constexpr int kProtocolVersion = 1;
constexpr int kKeepaliveMs = 30'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kConnectTimeoutMs = 10'000;
constexpr int kMaxMessageBytes = 64 << 20;
constexpr absl::Duration kAbandonTimeout = absl::Seconds(2);
constexpr char kUploadUpdate[] = "/tributary.v1.Coordinator/UploadUpdate";

// INTERNAL and UNKNOWN are gRPC's own words for a connection that was damaged on its way ("frame
// of size … overflows local window", "Stream removed"); no rule of the service uses them.
absl::Status ToAbsl(const grpc::Status& status) {
  if (status.error_code() == grpc::StatusCode::INTERNAL ||
      status.error_code() == grpc::StatusCode::UNKNOWN) {
    return absl::UnavailableError(absl::StrCat("broken connection: ", status.error_message()));
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

// `duration` from now, on the clock that gRPC keeps for its deadlines.
gpr_timespec DeadlineIn(absl::Duration duration) {
  const absl::Duration capped = std::clamp(duration, absl::ZeroDuration(), absl::Hours(24 * 365));
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(absl::ToInt64Milliseconds(capped), GPR_TIMESPAN));
}

// A call that `stop` cancels.
class Call {
 public:
  explicit Call(std::stop_token stop) : link_(std::move(stop), [this] { context_.TryCancel(); }) {}

  grpc::ClientContext& context() { return context_; }

 private:
  grpc::ClientContext context_;
  std::stop_callback<std::function<void()>> link_;
};

// A stream that is driven one operation at a time. A step that takes longer than `timeout`
// cancels the call.
class Stream {
 public:
  Stream(std::stop_token stop, absl::Duration timeout)
      : call_(std::move(stop)), timeout_(timeout) {}
  ~Stream() {
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }

  grpc::ClientContext& context() { return call_.context(); }
  grpc::CompletionQueue& queue() { return queue_; }

  // After each operation was started: false if it failed, which ends the stream.
  bool Await() {
    void* tag = nullptr;
    bool ok = false;
    if (queue_.AsyncNext(&tag, &ok, DeadlineIn(timeout_)) == grpc::CompletionQueue::TIMEOUT) {
      timed_out_ = true;
      call_.context().TryCancel();
      queue_.Next(&tag, &ok);
      return false;
    }
    return ok;
  }

  // `status` is what Finish gave.
  absl::Status Result(const grpc::Status& status) const {
    if (!timed_out_) return ToAbsl(status);
    return absl::DeadlineExceededError(
        absl::StrCat("the server was silent for ", absl::FormatDuration(timeout_)));
  }

 private:
  Call call_;
  grpc::CompletionQueue queue_;
  const absl::Duration timeout_;
  bool timed_out_ = false;
};

// The chunk's data, where they lie if somebody keeps them there.
grpc::Slice DataSlice(const Chunk& chunk) {
  if (chunk.owner == nullptr) return {chunk.data.data(), chunk.data.size()};
  return {const_cast<char*>(chunk.data.data()), chunk.data.size(),
          [](void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); },
          new std::shared_ptr<const void>(chunk.owner)};
}

Chunk ChunkOf(const v1::Chunk& chunk) {
  return {
      .offset = static_cast<int64_t>(chunk.offset()), .data = chunk.data(), .xxh3 = chunk.xxh3()};
}

absl::Status Deliver(const v1::FetchModelResponse& response, ModelSink& sink) {
  switch (response.part_case()) {
    case v1::FetchModelResponse::kHeader: {
      TRIB_ASSIGN_OR_RETURN(const ModelHeader header, FromProto(response.header()));
      return sink.OnHeader(header, response.header().unchanged());
    }
    case v1::FetchModelResponse::kChunk:
      return sink.OnChunk(ChunkOf(response.chunk()));
    default:
      return absl::UnimplementedError("a part of a model that this client does not know");
  }
}

// Reads to the end, or until `take` does not like what came: then its error is returned.
template <typename Response>
absl::Status ReadAll(Stream& stream, grpc::ClientAsyncReader<Response>& reader,
                     const std::function<absl::Status(const Response&)>& take) {
  reader.StartCall(nullptr);
  bool open = stream.Await();
  absl::Status taken;
  Response response;
  while (open && taken.ok()) {
    reader.Read(&response, nullptr);
    open = stream.Await();
    if (open) taken = take(response);
  }
  if (!taken.ok()) stream.context().TryCancel();
  grpc::Status status;
  reader.Finish(&status, nullptr);
  stream.Await();
  return taken.ok() ? stream.Result(status) : taken;
}

absl::StatusOr<std::string> ReadPem(absl::string_view field, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(field, ": cannot open '", path, "'"));
  std::ostringstream text;
  text << file.rdbuf();
  if (text.str().find("-----BEGIN") == std::string::npos) {
    return absl::FailedPreconditionError(absl::StrCat(field, ": '", path, "' holds no PEM block"));
  }
  return text.str();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CreateCredentials(
    const ClientOptions& options) {
  if (options.ca_file.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions ssl;
  TRIB_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem("ca_file", options.ca_file));
  if (!options.cert_file.empty()) {
    TRIB_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem("cert_file", options.cert_file));
    TRIB_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem("key_file", options.key_file));
  }
  return grpc::SslCredentials(ssl);
}

grpc::ChannelArguments CreateArguments(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Two clients in one process are two connections.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Our own back-off decides when to call; the channel should then be quick.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // Not a back-off but how long connecting may take, handshakes and all.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectTimeoutMs);
  // After a failed connection gRPC resolves the name again first, by default at most every
  // 30 s; until then every call fails, server back or not.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 500);
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetMaxSendMessageSize(kMaxMessageBytes);
  // A proxy of the environment sees only what is encrypted.
  if (options.ca_file.empty()) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return arguments;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcConnection>> GrpcConnection::Create(
    const ClientOptions& options) {
  TRIB_ASSIGN_OR_RETURN(const auto credentials, CreateCredentials(options));
  auto channel = grpc::CreateCustomChannel(options.server, credentials, CreateArguments(options));
  return std::unique_ptr<GrpcConnection>(new GrpcConnection(options, std::move(channel)));
}

GrpcConnection::GrpcConnection(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel)
    : client_id_(options.id.value()),
      user_agent_(options.user_agent),
      evaluate_only_(options.evaluate_only),
      adapter_rank_(options.adapter_rank),
      memory_bytes_(options.memory_bytes),
      call_timeout_(options.call_timeout),
      stub_(v1::Coordinator::NewStub(channel)),
      uploads_(std::move(channel)) {}

absl::StatusOr<ServerLimits> GrpcConnection::Enroll(std::stop_token stop) {
  v1::EnrollRequest request;
  request.set_client_id(client_id_);
  request.set_protocol_version(kProtocolVersion);
  request.set_user_agent(user_agent_);
  request.set_evaluate_only(evaluate_only_);
  v1::EnrollResponse response;
  Call call(std::move(stop));
  call.context().set_deadline(DeadlineIn(call_timeout_));
  TRIB_RETURN_IF_ERROR(ToAbsl(stub_->Enroll(&call.context(), request, &response)));
  return FromProto(response);
}

absl::StatusOr<CheckInAnswer> GrpcConnection::CheckIn(absl::Duration max_wait, int64_t task,
                                                      std::stop_token stop) {
  v1::CheckInRequest request;
  request.set_client_id(client_id_);
  ToProto(max_wait, request.mutable_max_wait());
  request.set_task(task);
  request.set_adapter_rank(adapter_rank_);
  request.set_memory_bytes(memory_bytes_);
  v1::CheckInResponse response;
  Call call(std::move(stop));
  call.context().set_deadline(DeadlineIn(max_wait + call_timeout_));
  TRIB_RETURN_IF_ERROR(ToAbsl(stub_->CheckIn(&call.context(), request, &response)));
  return FromProto(response);
}

absl::Status GrpcConnection::FetchModel(const FetchRequest& request, ModelSink& sink,
                                        std::stop_token stop) {
  v1::FetchModelRequest wire;
  wire.set_client_id(client_id_);
  wire.set_job_id(request.job.value());
  wire.set_version(request.version);
  wire.set_offset(static_cast<uint64_t>(request.offset));
  if (request.have_digest) wire.set_have_digest(request.have_digest->ToBytes());
  if (request.have_version) wire.set_have_version(*request.have_version);
  if (request.have_mask) {
    wire.mutable_have_mask()->set_low(request.have_mask->low);
    wire.mutable_have_mask()->set_high(request.have_mask->high);
  }

  Stream stream(std::move(stop), call_timeout_);
  const auto reader = stub_->PrepareAsyncFetchModel(&stream.context(), wire, &stream.queue());
  return ReadAll<v1::FetchModelResponse>(
      stream, *reader,
      [&sink](const v1::FetchModelResponse& response) { return Deliver(response, sink); });
}

absl::Status GrpcConnection::FetchProgram(const ProgramRequest& request, const TakeChunk& take,
                                          std::stop_token stop) {
  v1::FetchProgramRequest wire;
  wire.set_client_id(client_id_);
  wire.set_job_id(request.job.value());
  wire.set_offset(static_cast<uint64_t>(request.offset));
  Stream stream(std::move(stop), call_timeout_);
  const auto reader = stub_->PrepareAsyncFetchProgram(&stream.context(), wire, &stream.queue());
  return ReadAll<v1::FetchProgramResponse>(stream, *reader,
                                           [&take](const v1::FetchProgramResponse& response) {
                                             return take(ChunkOf(response.chunk()));
                                           });
}

absl::StatusOr<UploadAnswer> GrpcConnection::UploadUpdate(const UpdateHeader& header,
                                                          const ChunkSource& chunks,
                                                          std::stop_token stop) {
  Stream stream(std::move(stop), call_timeout_);
  const auto call = uploads_.PrepareCall(&stream.context(), kUploadUpdate, &stream.queue());
  call->StartCall(nullptr);
  bool open = stream.Await();
  v1::UploadUpdateRequest first;
  first.mutable_header()->set_client_id(client_id_);
  ToProto(header, first.mutable_header());
  grpc::ByteBuffer message = WholeMessage(first);
  while (open) {
    call->Write(message, nullptr);
    open = stream.Await();
    const std::optional<Chunk> chunk = open ? chunks() : std::nullopt;
    if (!chunk) break;
    message = ChunkMessage(v1::UploadUpdateRequest::kChunkFieldNumber,
                           static_cast<uint64_t>(chunk->offset), chunk->xxh3, DataSlice(*chunk));
  }
  if (open) {
    call->WritesDone(nullptr);
    open = stream.Await();
  }
  // The server may have answered before it had everything.
  v1::UploadUpdateResponse response;
  call->Read(&response, nullptr);
  const bool answered = stream.Await();
  grpc::Status status;
  call->Finish(&status, nullptr);
  stream.Await();
  TRIB_RETURN_IF_ERROR(stream.Result(status));
  if (!answered) return absl::UnavailableError("broken connection: an upload without an answer");
  return FromProto(response);
}

absl::StatusOr<EvaluationAnswer> GrpcConnection::ReportEvaluation(const EvaluationReport& report,
                                                                  std::stop_token stop) {
  v1::ReportEvaluationRequest request;
  request.set_client_id(client_id_);
  ToProto(report, &request);
  v1::ReportEvaluationResponse response;
  Call call(std::move(stop));
  call.context().set_deadline(DeadlineIn(call_timeout_));
  TRIB_RETURN_IF_ERROR(ToAbsl(stub_->ReportEvaluation(&call.context(), request, &response)));
  return EvaluationAnswer{.counted = response.counted(), .message = response.message()};
}

absl::StatusOr<bool> GrpcConnection::ReportProgress(const ProgressReport& report,
                                                    std::stop_token stop) {
  v1::ReportProgressRequest request;
  request.set_client_id(client_id_);
  request.set_job_id(report.job.value());
  request.set_work_order_id(report.work_order);
  request.set_steps_done(report.steps_done);
  request.set_steps_total(report.steps_total);
  v1::ReportProgressResponse response;
  Call call(std::move(stop));
  call.context().set_deadline(DeadlineIn(call_timeout_));
  TRIB_RETURN_IF_ERROR(ToAbsl(stub_->ReportProgress(&call.context(), request, &response)));
  return response.go_on();
}

absl::Status GrpcConnection::AbandonWork(const AbandonNotice& notice) {
  v1::AbandonWorkRequest request;
  request.set_client_id(client_id_);
  request.set_job_id(notice.job.value());
  request.set_work_order_id(notice.work_order);
  request.set_reason(ToProto(notice.reason));
  request.set_message(notice.message);
  v1::AbandonWorkResponse response;
  grpc::ClientContext context;
  context.set_deadline(DeadlineIn(kAbandonTimeout));
  return ToAbsl(stub_->AbandonWork(&context, request, &response));
}

}  // namespace tributary::sdk
