// The tool's line to tributaryd's Operator service.
#ifndef TRIBUTARY_SERVER_OPERATOR_CONNECTION_H_
#define TRIBUTARY_SERVER_OPERATOR_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "tributary/v1/operator.grpc.pb.h"

namespace tributary::op {

struct ConnectionOptions {
  std::string server = "127.0.0.1:7433";  // host:port
  std::string ca;                         // paths of PEM files; empty: no TLS
  std::string certificate;
  std::string key;
};

// Thread-compatible.
class Connection {
 public:
  // InvalidArgument: certificate and key not together, or no `ca` for a server that is not on
  // this machine. NotFound: a file that cannot be read. Does not dial yet.
  static absl::StatusOr<std::unique_ptr<Connection>> Create(const ConnectionOptions& options,
                                                            Clock& clock);

  v1::Operator::StubInterface& stub() { return *stub_; }
  const std::string& server() const { return server_; }

  // One call and its answer, within `timeout`:
  //   TRIB_ASSIGN_OR_RETURN(v1::Job job, connection.Call(&v1::Operator::StubInterface::GetJob, r));
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::Operator::StubInterface::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request, absl::Duration timeout = kCallTimeout) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(clock_.Now() + timeout));
    Response response;
    absl::Status status = ToStatus(((*stub_).*method)(&context, request, &response));
    if (!status.ok()) return status;
    return response;
  }

  // The same code; a message that names the server when it was not reached.
  absl::Status ToStatus(const grpc::Status& status) const;

 private:
  static constexpr absl::Duration kCallTimeout = absl::Seconds(30);

  Connection(std::string server, std::unique_ptr<v1::Operator::StubInterface> stub, Clock& clock)
      : server_(std::move(server)), stub_(std::move(stub)), clock_(clock) {}

  const std::string server_;
  const std::unique_ptr<v1::Operator::StubInterface> stub_;
  Clock& clock_;
};

// True for "localhost:1", "127.0.0.1:1", "[::1]:1" and unix sockets.
bool IsLoopback(absl::string_view server);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_CONNECTION_H_
