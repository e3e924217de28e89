#include "server/rpc/operator_service.h"

#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/status_macros.h"
#include "server/rpc/export_stream.h"
#include "server/rpc/model_stream.h"
#include "server/rpc/watch_reactor.h"
#include "server/rpc/wire.h"

namespace tributary {
namespace {

absl::Status CheckDigest(absl::string_view field, absl::string_view data,
                         const std::string& digest) {
  if (Sha256::Of(data).ToBytes() == digest) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, ": not the SHA-256 of what came"));
}

template <typename Message, typename Value>
auto PutOrFail(Message* response, std::function<void(absl::Status)> finish) {
  return [response, finish](const absl::StatusOr<Value>& value) {
    if (value.ok()) wire::Put(*value, response);
    finish(value.status());
  };
}

}  // namespace

absl::StatusOr<Submission> ReadSubmission(const v1::SubmitJobRequest& request) {
  const v1::JobEnvelope& envelope = request.job();
  if (!envelope.config_digest().empty()) {
    TRIB_RETURN_IF_ERROR(
        CheckDigest("config_digest", envelope.spec_json(), envelope.config_digest()));
  }
  Submission submission{.request_id = request.request_id(), .spec = {}, .initial = {}};
  TRIB_ASSIGN_OR_RETURN(submission.spec, ParseJobSpecJson(envelope.spec_json()));
  if (envelope.has_initial_model()) {
    TRIB_ASSIGN_OR_RETURN(submission.initial, wire::Get(envelope.initial_model()));
  }
  return submission;
}

grpc::ServerUnaryReactor* OperatorService::PutFile(Context* context,
                                                   const v1::PutFileRequest* request,
                                                   v1::PutFileResponse* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, request, response](auto finish) {
    const v1::Chunk& chunk = request->chunk();
    const auto name = wire::Get(request->file());
    if (!name.ok()) return finish(name.status());
    if (Xxh3(chunk.data()) != chunk.xxh3()) {
      return finish(absl::DataLossError("chunk.xxh3: not that of the data"));
    }
    deps_->host->PutFile({*name, chunk.offset(), chunk.data()},
                         [response, finish](const absl::StatusOr<uint64_t>& bytes) {
                           if (bytes.ok()) response->set_bytes(*bytes);
                           finish(bytes.status());
                         });
  });
}

grpc::ServerUnaryReactor* OperatorService::SubmitJob(Context* context,
                                                     const v1::SubmitJobRequest* request,
                                                     v1::SubmitJobResponse* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, request, response](auto finish) {
    deps_->pool->Run([deps = deps_, request, response, finish] {
      auto submission = ReadSubmission(*request);
      if (!submission.ok()) return finish(submission.status());
      deps->loop->Post([deps, response, finish, submission = *std::move(submission)]() mutable {
        deps->host->SubmitJob(std::move(submission),
                              [response, finish](const absl::StatusOr<JobId>& job) {
                                if (job.ok()) response->set_job_id(job->value());
                                finish(job.status());
                              });
      });
    });
  });
}

grpc::ServerUnaryReactor* OperatorService::ListJobs(Context* context, const v1::ListJobsRequest*,
                                                    v1::ListJobsResponse* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, response](auto finish) {
    for (const JobView& view : deps_->host->ListJobs()) wire::Put(view, response->add_jobs());
    finish(absl::OkStatus());
  });
}

grpc::ServerUnaryReactor* OperatorService::GetJob(Context* context,
                                                  const v1::GetJobRequest* request,
                                                  v1::Job* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, request, response](auto finish) {
    PutOrFail<v1::Job, JobView>(response, finish)(deps_->host->GetJob(JobId(request->job_id())));
  });
}

grpc::ServerWriteReactor<v1::Job>* OperatorService::WatchJob(Context* context,
                                                             const v1::WatchJobRequest* request) {
  return new WatchReactor(deps_, JobId(request->job_id()), Allowed(*context));
}

grpc::ServerUnaryReactor* OperatorService::Command(Context* context, const std::string& job,
                                                   event::Command::Verb verb, v1::Job* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, job, verb, response](auto finish) {
    deps_->host->Command(JobId(job), verb, PutOrFail<v1::Job, JobView>(response, finish));
  });
}

grpc::ServerUnaryReactor* OperatorService::PauseJob(Context* context,
                                                    const v1::PauseJobRequest* request,
                                                    v1::Job* response) {
  return Command(context, request->job_id(), event::Command::Verb::kPause, response);
}

grpc::ServerUnaryReactor* OperatorService::ResumeJob(Context* context,
                                                     const v1::ResumeJobRequest* request,
                                                     v1::Job* response) {
  return Command(context, request->job_id(), event::Command::Verb::kResume, response);
}

grpc::ServerUnaryReactor* OperatorService::CancelJob(Context* context,
                                                     const v1::CancelJobRequest* request,
                                                     v1::Job* response) {
  return Command(context, request->job_id(), event::Command::Verb::kCancel, response);
}

grpc::ServerUnaryReactor* OperatorService::NextTask(Context* context,
                                                    const v1::NextTaskRequest* request,
                                                    v1::Job* response) {
  return Command(context, request->job_id(), event::Command::Verb::kNextTask, response);
}

grpc::ServerUnaryReactor* OperatorService::ListVersions(Context* context,
                                                        const v1::ListVersionsRequest* request,
                                                        v1::ListVersionsResponse* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, request, response](auto finish) {
    const auto view = deps_->host->GetJob(JobId(request->job_id()));
    if (!view.ok()) return finish(view.status());
    deps_->pool->Run(
        [store = deps_->store, bytes = view->model_bytes, id = view->record.id, response, finish] {
          const auto versions = store->ListVersions(id);
          if (!versions.ok()) return finish(versions.status());
          for (auto version = versions->rbegin(); version != versions->rend(); ++version) {
            wire::Put(*version, bytes, response->add_versions());
          }
          finish(absl::OkStatus());
        });
  });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* OperatorService::ExportModel(
    Context* context, const grpc::ByteBuffer* message) {
  const auto request = ParseRequest<v1::ExportModelRequest>(*message);
  auto* const stream =
      new ModelStream<v1::ExportModelResponse>(deps_, &downloads_, nullptr, nullptr);
  if (const absl::Status allowed = Allowed(*context); !allowed.ok()) {
    stream->Fail(allowed);
    return stream;
  }
  deps_->loop->Post([this, stream, request] {
    const auto view = deps_->host->GetJob(JobId(request->job_id()));
    if (!view.ok()) return stream->Fail(view.status());
    const Version version = request->version() < 0 ? view->progress.version : request->version();
    deps_->pool->Run([stream, id = view->record.id, version, store = deps_->store, request] {
      auto reader = store->OpenModel(id, version);
      if (!reader.ok()) return stream->Fail(reader.status());
      stream->Send(id, *std::move(reader), request->offset(), false);
    });
  });
  return stream;
}

grpc::ServerWriteReactor<v1::ExportJobResponse>* OperatorService::ExportJob(
    Context* context, const v1::ExportJobRequest* request) {
  auto* const stream = new ExportStream(deps_, &downloads_);
  if (const absl::Status allowed = Allowed(*context); !allowed.ok()) {
    stream->Fail(allowed);
    return stream;
  }
  deps_->loop->Post([this, stream, request] {
    deps_->host->ExportJob(
        JobId(request->job_id()),
        [stream, have = std::set<std::string>(request->have().begin(), request->have().end())](
            absl::StatusOr<JobExport> made) {
          if (!made.ok()) return stream->Fail(made.status());
          stream->Send(*std::move(made), have);
        });
  });
  return stream;
}

grpc::ServerUnaryReactor* OperatorService::ListClients(Context* context,
                                                       const v1::ListClientsRequest*,
                                                       v1::ListClientsResponse* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, response](auto finish) {
    for (const ClientView& view : deps_->host->ListClients()) {
      wire::Put(view, response->add_clients());
    }
    finish(absl::OkStatus());
  });
}

grpc::ServerUnaryReactor* OperatorService::GetClient(Context* context,
                                                     const v1::GetClientRequest* request,
                                                     v1::Client* response) {
  return OnLoop(context, deps_->loop, Allowed(*context), [this, request, response](auto finish) {
    PutOrFail<v1::Client, ClientView>(
        response, finish)(deps_->host->GetClient(ClientId(request->client_id())));
  });
}

}  // namespace tributary
