// OperatorService: the calls of operators (proto/tributary/v1/operator.proto).
#ifndef TRIBUTARY_SERVER_RPC_OPERATOR_SERVICE_H_
#define TRIBUTARY_SERVER_RPC_OPERATOR_SERVICE_H_

#include "server/rpc/byte_budget.h"
#include "server/rpc/service.h"
#include "tributary/v1/operator.grpc.pb.h"

namespace tributary {

// Thread-safe, as gRPC needs it.
class OperatorService final
    : public v1::Operator::WithRawCallbackMethod_ExportModel<v1::Operator::CallbackService> {
 public:
  using Context = grpc::CallbackServerContext;

  // `deps` outlives this.
  explicit OperatorService(const ServiceDeps* deps)
      : deps_(deps), downloads_(deps->limits.in_flight_bytes) {}

  grpc::ServerUnaryReactor* PutFile(Context* context, const v1::PutFileRequest* request,
                                    v1::PutFileResponse* response) override;
  grpc::ServerUnaryReactor* SubmitJob(Context* context, const v1::SubmitJobRequest* request,
                                      v1::SubmitJobResponse* response) override;
  grpc::ServerUnaryReactor* ListJobs(Context* context, const v1::ListJobsRequest* request,
                                     v1::ListJobsResponse* response) override;
  grpc::ServerUnaryReactor* GetJob(Context* context, const v1::GetJobRequest* request,
                                   v1::Job* response) override;
  grpc::ServerWriteReactor<v1::Job>* WatchJob(Context* context,
                                              const v1::WatchJobRequest* request) override;
  grpc::ServerUnaryReactor* PauseJob(Context* context, const v1::PauseJobRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ResumeJob(Context* context, const v1::ResumeJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* CancelJob(Context* context, const v1::CancelJobRequest* request,
                                      v1::Job* response) override;
  grpc::ServerUnaryReactor* NextTask(Context* context, const v1::NextTaskRequest* request,
                                     v1::Job* response) override;
  grpc::ServerUnaryReactor* ListVersions(Context* context, const v1::ListVersionsRequest* request,
                                         v1::ListVersionsResponse* response) override;
  // Of a v1::ExportModelRequest.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* ExportModel(Context* context,
                                                          const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<v1::ExportJobResponse>* ExportJob(
      Context* context, const v1::ExportJobRequest* request) override;
  grpc::ServerUnaryReactor* ListClients(Context* context, const v1::ListClientsRequest* request,
                                        v1::ListClientsResponse* response) override;
  grpc::ServerUnaryReactor* GetClient(Context* context, const v1::GetClientRequest* request,
                                      v1::Client* response) override;

 private:
  absl::Status Allowed(const Context& context) const {
    return CheckCaller(context, deps_->tls, deps_->operators);
  }
  grpc::ServerUnaryReactor* Command(Context* context, const std::string& job,
                                    event::Command::Verb verb, v1::Job* response);

  const ServiceDeps* const deps_;
  ByteBudget downloads_;
};

// What a submission says, parsed and checked. InvalidArgument with every error of the spec, one a
// line.
absl::StatusOr<Submission> ReadSubmission(const v1::SubmitJobRequest& request);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_OPERATOR_SERVICE_H_
