// The only place where an absl::Status becomes a gRPC one. The codes have the same numbers.
#ifndef TRIBUTARY_SERVER_RPC_STATUS_MAPPING_H_
#define TRIBUTARY_SERVER_RPC_STATUS_MAPPING_H_

#include <string>

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace tributary {

inline grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_STATUS_MAPPING_H_
