// GrpcConnection: the Connection over tributary.v1.Coordinator.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_GRPC_CONNECTION_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_GRPC_CONNECTION_H_

#include <memory>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/client_options.h"
#include "client_sdk/connection.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "tributary/v1/coordinator.grpc.pb.h"

namespace tributary::sdk {

// Every call ends after options.call_timeout of silence, a transfer counting from message
// to message, so that its length sets no limit. Thread-safe.
class GrpcConnection final : public Connection {
 public:
  // Reads the certificate files (NotFound, FailedPrecondition); does not connect yet.
  // `options` must be valid.
  static absl::StatusOr<std::unique_ptr<GrpcConnection>> Create(const ClientOptions& options);

  absl::StatusOr<ServerLimits> Enroll(std::stop_token stop) override;
  absl::StatusOr<CheckInAnswer> CheckIn(absl::Duration max_wait, int64_t task,
                                        std::stop_token stop) override;
  absl::Status FetchModel(const FetchRequest& request, ModelSink& sink,
                          std::stop_token stop) override;
  absl::Status FetchProgram(const ProgramRequest& request, const TakeChunk& take,
                            std::stop_token stop) override;
  absl::StatusOr<UploadAnswer> UploadUpdate(const UpdateHeader& header, const ChunkSource& chunks,
                                            std::stop_token stop) override;
  absl::StatusOr<EvaluationAnswer> ReportEvaluation(const EvaluationReport& report,
                                                    std::stop_token stop) override;
  absl::StatusOr<bool> ReportProgress(const ProgressReport& report, std::stop_token stop) override;
  absl::Status AbandonWork(const AbandonNotice& notice) override;

 private:
  GrpcConnection(const ClientOptions& options, std::shared_ptr<grpc::Channel> channel);

  // Constant after construction.
  const std::string client_id_;
  const std::string user_agent_;
  const bool evaluate_only_;
  const int64_t adapter_rank_;
  const int64_t memory_bytes_;
  const absl::Duration call_timeout_;
  const std::unique_ptr<v1::Coordinator::Stub> stub_;
  // Messages of which this end writes the bytes.
  grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::UploadUpdateResponse> uploads_;
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_GRPC_CONNECTION_H_
