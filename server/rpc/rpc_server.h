// RpcServer: one port that serves clients and operators over gRPC.
#ifndef TRIBUTARY_SERVER_RPC_RPC_SERVER_H_
#define TRIBUTARY_SERVER_RPC_RPC_SERVER_H_

#include <memory>
#include <optional>
#include <string>

#include "server/rpc/coordinator_service.h"
#include "server/rpc/operator_service.h"
#include "server/rpc/service.h"

namespace tributary {

// PEM texts. Clients must show a certificate that `client_ca` has signed.
struct TlsKeys {
  std::string certificate, key, client_ca;
};

// Thread-compatible.
class RpcServer {
 public:
  // Listens on `address` ("host:port", port 0: any). Unavailable if it cannot.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Create(const std::string& address,
                                                           const std::optional<TlsKeys>& tls,
                                                           ServiceDeps deps);
  ~RpcServer();

  int port() const { return port_; }
  // Takes no new call, gives the running ones this long, then breaks them off. The loop must
  // still run: calls are ended on it.
  void Shutdown(absl::Duration within);

 private:
  explicit RpcServer(ServiceDeps deps)
      : deps_(std::move(deps)), coordinator_(&deps_), operator_(&deps_) {}

  const ServiceDeps deps_;
  CoordinatorService coordinator_;
  OperatorService operator_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_RPC_SERVER_H_
