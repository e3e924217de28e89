#include "server/rpc/rpc_server.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

// A message is a chunk with what stands beside it, or a layout or a job's spec.
constexpr int64_t kSlackBytes = int64_t{1} << 20;
constexpr int64_t kLongestOtherMessageBytes = int64_t{4} << 20;
constexpr int kReadAheadBytes = 64 << 10;  // of a connection

std::shared_ptr<grpc::ServerCredentials> Credentials(const std::optional<TlsKeys>& tls) {
  if (!tls) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(
      GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = tls->client_ca;
  options.pem_key_cert_pairs.push_back({tls->key, tls->certificate});
  return grpc::SslServerCredentials(options);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Create(const std::string& address,
                                                             const std::optional<TlsKeys>& tls,
                                                             ServiceDeps deps) {
  deps.tls = tls.has_value();
  auto rpc = std::unique_ptr<RpcServer>(new RpcServer(std::move(deps)));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, Credentials(tls), &rpc->port_);
  builder.RegisterService(&rpc->coordinator_);
  builder.RegisterService(&rpc->operator_);
  builder.SetMaxReceiveMessageSize(static_cast<int>(
      std::max(rpc->deps_.limits.max_chunk_bytes + kSlackBytes, kLongestOtherMessageBytes)));
  const auto ms = [](absl::Duration d) { return static_cast<int>(absl::ToInt64Milliseconds(d)); };
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             ms(kMinKeepalive));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, ms(absl::Seconds(60)));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ms(absl::Seconds(20)));
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Left alone, gRPC buffers up to 16 MiB a connection ahead of what we have asked to read:
  // 17 models of 40 MB with 20 clients, measured. An announced read still opens the window for its
  // whole chunk, so a transfer is no slower, unless a chunk takes less time than its way: over long
  // links no more than a chunk travels in one round trip.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, rpc->deps_.limits.bdp_window ? 1 : 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kReadAheadBytes);
  builder.AddChannelArgument(GRPC_ARG_TCP_MAX_READ_CHUNK_SIZE, kReadAheadBytes);
  rpc->server_ = builder.BuildAndStart();
  if (rpc->server_ == nullptr || rpc->port_ == 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on '", address, "': the address is taken or not of this machine",
        tls ? ", or the TLS files do not fit together" : ""));
  }
  return rpc;
}

RpcServer::~RpcServer() { Shutdown(absl::ZeroDuration()); }

void RpcServer::Shutdown(absl::Duration within) {
  if (server_ == nullptr) return;
  server_->Shutdown(absl::ToChronoTime(deps_.clock->Now() + within));
  server_->Wait();
  server_ = nullptr;
}

}  // namespace tributary
