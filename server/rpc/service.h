// What both gRPC services need: the loop that the live host runs on, who is calling, and the
// shape of a unary call. Nothing here blocks a gRPC thread.
#ifndef TRIBUTARY_SERVER_RPC_SERVICE_H_
#define TRIBUTARY_SERVER_RPC_SERVICE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "grpcpp/grpcpp.h"
#include "server/live/live_host.h"
#include "server/rpc/byte_budget.h"
#include "server/rpc/status_mapping.h"

namespace tributary {

// Clients ping every 30 s; more often than this is answered with GOAWAY.
constexpr absl::Duration kMinKeepalive = absl::Seconds(10);

struct RpcLimits {
  int64_t max_chunk_bytes = int64_t{1} << 20;
  // Chunks read and not yet written, over all uploads; and the same for models sent.
  int64_t in_flight_bytes = int64_t{16} << 20;
  int64_t in_flight_bytes_per_client = int64_t{4} << 20;
  // What a client may send before it is read follows the bandwidth-delay product of its connection,
  // up to 16 MiB, instead of one chunk.
  bool bdp_window = false;
  // An upload stream without a chunk for this long is broken off; the client resumes.
  absl::Duration upload_idle = absl::Seconds(60);
};

struct ServiceDeps {  // all outlive the services
  EventLoop* loop = nullptr;
  Executor* pool = nullptr;
  Clock* clock = nullptr;
  LiveHost* host = nullptr;
  ModelStore* store = nullptr;
  std::string server_agent;  // "tributaryd/0.1.0"
  absl::Duration max_wait;   // the longest that a check-in is held
  RpcLimits limits;
  // With TLS the caller is who its certificate says: a client its own name, an operator one
  // of these.
  bool tls = false;
  std::vector<std::string> operators;
};

// PermissionDenied unless the caller's certificate has one of these common names. Without
// TLS (loopback only) everybody is believed.
absl::Status CheckCaller(const grpc::ServerContextBase& context, bool tls,
                         const std::vector<std::string>& allowed);

// Of a call whose messages are bytes here. What cannot be parsed is an empty request, which names
// no client and no job.
template <typename Request>
std::shared_ptr<const Request> ParseRequest(grpc::ByteBuffer bytes) {
  auto request = std::make_shared<Request>();
  if (!grpc::SerializationTraits<Request>::Deserialize(&bytes, request.get()).ok()) {
    request->Clear();
  }
  return request;
}

// Runs `call(finish)` on the loop; finish(absl::Status) ends the call, on any thread.
template <typename Call>
grpc::ServerUnaryReactor* OnLoop(grpc::CallbackServerContext* context, EventLoop* loop,
                                 const absl::Status& allowed, Call call) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  if (!allowed.ok()) {
    reactor->Finish(ToGrpc(allowed));
    return reactor;
  }
  loop->Post([reactor, call = std::move(call)]() mutable {
    call([reactor](const absl::Status& status) { reactor->Finish(ToGrpc(status)); });
  });
  return reactor;
}

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_SERVICE_H_
