#include "server/rpc/coordinator_service.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "server/rpc/chunk_stream.h"
#include "server/rpc/model_stream.h"
#include "server/rpc/wire.h"

namespace tributary {
namespace {

constexpr int kProtocolVersion = 1;

// A held check-in: knows its poll, so that a caller who goes away frees it.
class CheckInReactor final : public grpc::ServerUnaryReactor {
 public:
  CheckInReactor(const ServiceDeps* deps, const v1::CheckInRequest* request,
                 v1::CheckInResponse* response)
      : deps_(deps), client_(request->client_id()), response_(response) {
    const absl::Duration max_wait = wire::Get(request->max_wait());
    const ClientReport report{.task = request->task(),
                              .adapter_rank = request->adapter_rank(),
                              .memory_bytes = request->memory_bytes()};
    deps_->loop->Post([this, max_wait, report] {
      poll_ = deps_->host->CheckIn(client_, max_wait, report,
                                   [this](absl::StatusOr<CheckInAnswer> answer) {
                                     answered_ = true;
                                     if (answer.ok()) wire::Put(*answer, response_);
                                     Finish(ToGrpc(answer.status()));
                                   });
    });
  }

 private:
  // OnDone waits for OnCancel, and this for the loop: so deletion comes last, on the loop.
  void OnCancel() override {
    deps_->loop->Post([this] {
      if (answered_) return;
      answered_ = true;
      deps_->host->CancelCheckIn(client_, poll_);
      Finish(grpc::Status::CANCELLED);
    });
  }
  void OnDone() override {
    deps_->loop->Post([this] { delete this; });
  }

  const ServiceDeps* const deps_;
  const ClientId client_;
  v1::CheckInResponse* const response_;
  // Loop only.
  LiveHost::PollId poll_ = 0;
  bool answered_ = false;
};

}  // namespace

absl::Status CoordinatorService::Allowed(const grpc::CallbackServerContext& context,
                                         const std::string& client_id) const {
  TRIB_RETURN_IF_ERROR(wire::CheckId("client_id", client_id));
  return CheckCaller(context, deps_->tls, {client_id});
}

grpc::ServerUnaryReactor* CoordinatorService::Enroll(grpc::CallbackServerContext* context,
                                                     const v1::EnrollRequest* request,
                                                     v1::EnrollResponse* response) {
  absl::Status allowed = Allowed(*context, request->client_id());
  if (allowed.ok() && request->protocol_version() != kProtocolVersion) {
    allowed = absl::FailedPreconditionError(
        absl::StrCat("protocol_version: found ", request->protocol_version(),
                     ", this server speaks ", kProtocolVersion));
  }
  return OnLoop(context, deps_->loop, allowed, [this, request, response](auto finish) {
    response->set_max_chunk_bytes(static_cast<uint32_t>(deps_->limits.max_chunk_bytes));
    wire::Put(deps_->max_wait, response->mutable_max_wait());
    wire::Put(kMinKeepalive, response->mutable_min_keepalive());
    response->set_server_agent(deps_->server_agent);
    deps_->host->Enroll({.client = ClientId(request->client_id()),
                         .user_agent = request->user_agent().substr(0, 256),
                         .evaluate_only = request->evaluate_only()},
                        finish);
  });
}

grpc::ServerUnaryReactor* CoordinatorService::CheckIn(grpc::CallbackServerContext* context,
                                                      const v1::CheckInRequest* request,
                                                      v1::CheckInResponse* response) {
  absl::Status allowed = Allowed(*context, request->client_id());
  if (allowed.ok() &&
      std::min({request->task(), request->adapter_rank(), request->memory_bytes()}) < 0) {
    allowed = absl::InvalidArgumentError(absl::StrCat(
        "task, adapter_rank and memory_bytes: found ", request->task(), ", ",
        request->adapter_rank(), " and ", request->memory_bytes(), ", allowed: integers from 0"));
  }
  if (!allowed.ok()) return OnLoop(context, deps_->loop, allowed, [](auto) {});
  return new CheckInReactor(deps_, request, response);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* CoordinatorService::FetchModel(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* message) {
  const auto request = ParseRequest<v1::FetchModelRequest>(*message);
  const ClientId client(request->client_id());
  const JobId job(request->job_id());
  auto* const stream = new ModelStream<v1::FetchModelResponse>(
      deps_, &downloads_, &chunks_, [deps = deps_, client, job](uint64_t bytes) {
        deps->loop->Post(
            [deps, client, job, bytes] { deps->host->CountDownlink(client, job, bytes); });
      });
  if (const absl::Status allowed = Allowed(*context, client.value()); !allowed.ok()) {
    stream->Fail(allowed);
    return stream;
  }
  deps_->loop->Post([this, stream, client, job, request] {
    const auto send = [stream, job, request, mask = deps_->host->MaskOf(job)](
                          absl::StatusOr<LiveHost::ReaderPtr> reader) {
      if (!reader.ok()) return stream->Fail(reader.status());
      if (mask != nullptr) stream->SetMask(*mask, wire::HeldMaskOf(*request));
      const bool unchanged = request->have_digest() == (*reader)->record().model_digest.ToBytes();
      stream->Send(job, *std::move(reader), request->offset(), unchanged);
    };
    deps_->host->OpenModel(client, job, request->version(), wire::GetHeld(*request), send);
  });
  return stream;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* CoordinatorService::FetchProgram(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* message) {
  const auto request = ParseRequest<v1::FetchProgramRequest>(*message);
  auto* const stream = new ChunkStream<v1::FetchProgramResponse>(deps_, &downloads_, nullptr);
  if (const absl::Status allowed = Allowed(*context, request->client_id()); !allowed.ok()) {
    stream->Fail(allowed);
    return stream;
  }
  deps_->loop->Post([this, stream, request] {
    deps_->host->OpenProgram(
        ClientId(request->client_id()), JobId(request->job_id()),
        [stream, offset = request->offset()](absl::StatusOr<std::shared_ptr<const File>> file) {
          const auto size = file.ok() ? (*file)->Size() : file.status();
          if (!size.ok()) return stream->Fail(size.status());
          const auto read = [file = *file](uint64_t from, uint64_t length, std::string& out) {
            out.resize(length);
            return file->ReadAt(from, out.data(), length);
          };
          stream->Send(read, offset, *size);
        });
  });
  return stream;
}

grpc::ServerReadReactor<v1::UploadUpdateRequest>* CoordinatorService::UploadUpdate(
    grpc::CallbackServerContext* context, v1::UploadUpdateResponse* response) {
  return new UploadReactor(context, response, deps_, &uploads_, &loads_);
}

grpc::ServerUnaryReactor* CoordinatorService::ReportEvaluation(
    grpc::CallbackServerContext* context, const v1::ReportEvaluationRequest* request,
    v1::ReportEvaluationResponse* response) {
  return OnLoop(
      context, deps_->loop, Allowed(*context, request->client_id()),
      [this, request, response](auto finish) {
        EvaluationReport report{.client = ClientId(request->client_id()),
                                .job = JobId(request->job_id()),
                                .version = request->version(),
                                .result = {.work_order = request->work_order_id(),
                                           .num_examples = request->num_examples(),
                                           .loss = request->loss(),
                                           .accuracy = request->accuracy()}};
        for (const v1::TaskResult& task : request->tasks()) {
          report.result.tasks.push_back({task.num_examples(), task.loss(), task.accuracy()});
        }
        deps_->host->ReportEvaluation(report,
                                      [response, finish](absl::StatusOr<ReportAnswer> answer) {
                                        if (answer.ok()) {
                                          response->set_counted(answer->counted);
                                          response->set_message(answer->message);
                                        }
                                        finish(answer.status());
                                      });
      });
}

grpc::ServerUnaryReactor* CoordinatorService::ReportProgress(
    grpc::CallbackServerContext* context, const v1::ReportProgressRequest* request,
    v1::ReportProgressResponse* response) {
  return OnLoop(context, deps_->loop, Allowed(*context, request->client_id()),
                [this, request, response](auto finish) {
                  deps_->host->ReportProgress(ClientId(request->client_id()),
                                              JobId(request->job_id()), request->work_order_id(),
                                              [response, finish](absl::StatusOr<bool> go_on) {
                                                response->set_go_on(go_on.ok() && *go_on);
                                                finish(go_on.status());
                                              });
                });
}

grpc::ServerUnaryReactor* CoordinatorService::AbandonWork(grpc::CallbackServerContext* context,
                                                          const v1::AbandonWorkRequest* request,
                                                          v1::AbandonWorkResponse* /*response*/) {
  return OnLoop(
      context, deps_->loop, Allowed(*context, request->client_id()), [this, request](auto finish) {
        deps_->host->AbandonWork(
            ClientId(request->client_id()), JobId(request->job_id()), request->work_order_id(),
            request->reason() == v1::AbandonWorkRequest::REASON_DIVERGED ? LossCause::kNotFinite
                                                                         : LossCause::kAbandoned,
            absl::StrCat(v1::AbandonWorkRequest::Reason_Name(request->reason()), " ",
                         request->message().substr(0, 1000)),
            finish);
      });
}

}  // namespace tributary
