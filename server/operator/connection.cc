#include "server/operator/connection.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"

namespace tributary::op {
namespace {

absl::StatusOr<std::string> ReadPem(absl::string_view flag, const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file || text.empty()) {
    return absl::NotFoundError(absl::StrCat(flag, ": cannot read ", path));
  }
  return text;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ConnectionOptions& options) {
  if (options.certificate.empty() != options.key.empty()) {
    return absl::InvalidArgumentError("--cert and --key go together: give both or neither");
  }
  if (options.ca.empty()) {
    if (!options.certificate.empty()) {
      return absl::InvalidArgumentError("--cert and --key need --ca");
    }
    if (!IsLoopback(options.server)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--server ", options.server,
                       " is not on this machine: TLS is required; give --ca, --cert and --key"));
    }
    return grpc::InsecureChannelCredentials();
  }
  grpc::SslCredentialsOptions ssl;
  TRIB_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadPem("--ca", options.ca));
  TRIB_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadPem("--cert", options.certificate));
  TRIB_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadPem("--key", options.key));
  return grpc::SslCredentials(ssl);
}

}  // namespace

bool IsLoopback(absl::string_view server) {
  return absl::StartsWith(server, "localhost:") || absl::StartsWith(server, "127.") ||
         absl::StartsWith(server, "[::1]:") || absl::StartsWith(server, "unix:");
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Create(const ConnectionOptions& options,
                                                               Clock& clock) {
  TRIB_ASSIGN_OR_RETURN(std::shared_ptr<grpc::ChannelCredentials> credentials,
                        MakeCredentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // A proxy in the environment is for the web, not for this.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  auto stub =
      v1::Operator::NewStub(grpc::CreateCustomChannel(options.server, credentials, arguments));
  return std::unique_ptr<Connection>(new Connection(options.server, std::move(stub), clock));
}

absl::Status Connection::ToStatus(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  if (code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded) {
    return absl::Status(
        code, absl::StrCat("no answer from tributaryd at ", server_, " (", status.error_message(),
                           "); is it running, and do --ca, --cert and --key fit? "
                           "--server or TRIBUTARY_SERVER names another host:port"));
  }
  return absl::Status(code, status.error_message());
}

}  // namespace tributary::op
