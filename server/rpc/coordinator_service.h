// CoordinatorService: the calls of clients (proto/tributary/v1/coordinator.proto). It checks
// who calls, translates, and hands everything to the live host on its loop.
#ifndef TRIBUTARY_SERVER_RPC_COORDINATOR_SERVICE_H_
#define TRIBUTARY_SERVER_RPC_COORDINATOR_SERVICE_H_

#include <string>

#include "server/rpc/byte_budget.h"
#include "server/rpc/chunk_cache.h"
#include "server/rpc/service.h"
#include "server/rpc/upload_reactor.h"
#include "tributary/v1/coordinator.grpc.pb.h"

namespace tributary {

// Thread-safe, as gRPC needs it.
class CoordinatorService final
    : public v1::Coordinator::WithRawCallbackMethod_FetchModel<
          v1::Coordinator::WithRawCallbackMethod_FetchProgram<v1::Coordinator::CallbackService>> {
 public:
  // `deps` outlives this.
  explicit CoordinatorService(const ServiceDeps* deps)
      : deps_(deps),
        uploads_(deps->limits.in_flight_bytes),
        downloads_(deps->limits.in_flight_bytes),
        chunks_(deps->limits.in_flight_bytes / 2),
        loads_(deps->limits.in_flight_bytes_per_client) {}

  grpc::ServerUnaryReactor* Enroll(grpc::CallbackServerContext* context,
                                   const v1::EnrollRequest* request,
                                   v1::EnrollResponse* response) override;
  grpc::ServerUnaryReactor* CheckIn(grpc::CallbackServerContext* context,
                                    const v1::CheckInRequest* request,
                                    v1::CheckInResponse* response) override;
  // These two of v1::FetchModelRequest and v1::FetchProgramRequest.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* FetchModel(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* request) override;
  grpc::ServerWriteReactor<grpc::ByteBuffer>* FetchProgram(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override;
  grpc::ServerReadReactor<v1::UploadUpdateRequest>* UploadUpdate(
      grpc::CallbackServerContext* context, v1::UploadUpdateResponse* response) override;
  grpc::ServerUnaryReactor* ReportEvaluation(grpc::CallbackServerContext* context,
                                             const v1::ReportEvaluationRequest* request,
                                             v1::ReportEvaluationResponse* response) override;
  grpc::ServerUnaryReactor* ReportProgress(grpc::CallbackServerContext* context,
                                           const v1::ReportProgressRequest* request,
                                           v1::ReportProgressResponse* response) override;
  grpc::ServerUnaryReactor* AbandonWork(grpc::CallbackServerContext* context,
                                        const v1::AbandonWorkRequest* request,
                                        v1::AbandonWorkResponse* response) override;

 private:
  // That the id can be one, and is the caller's.
  absl::Status Allowed(const grpc::CallbackServerContext& context,
                       const std::string& client_id) const;

  const ServiceDeps* const deps_;
  ByteBudget uploads_, downloads_;
  ChunkCache chunks_;
  ClientLoads loads_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_COORDINATOR_SERVICE_H_
