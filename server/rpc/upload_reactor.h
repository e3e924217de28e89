// UploadReactor: one UploadUpdate call. Reads one message at a time; a chunk that has been
// read is written to the spool before the next one is asked for.
#ifndef TRIBUTARY_SERVER_RPC_UPLOAD_REACTOR_H_
#define TRIBUTARY_SERVER_RPC_UPLOAD_REACTOR_H_

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "common/mutex.h"
#include "server/rpc/service.h"
#include "tributary/v1/coordinator.pb.h"

namespace tributary {

// What the upload streams of one client may hold together. Thread-safe.
class ClientLoads {
 public:
  explicit ClientLoads(int64_t most_bytes) : most_bytes_(most_bytes) {}
  // ResourceExhausted; else Remove the same bytes later.
  absl::Status Add(const ClientId& client, int64_t bytes);
  void Remove(const ClientId& client, int64_t bytes);

 private:
  const int64_t most_bytes_;
  Mutex mu_;
  std::map<ClientId, int64_t> bytes_ ABSL_GUARDED_BY(mu_);
};

class UploadReactor final : public grpc::ServerReadReactor<v1::UploadUpdateRequest> {
 public:
  UploadReactor(grpc::CallbackServerContext* context, v1::UploadUpdateResponse* response,
                const ServiceDeps* deps, ByteBudget* budget, ClientLoads* loads);

 private:
  void OnReadDone(bool ok) override;
  void OnDone() override;

  void ReadNext();
  void TakeHeader();
  void TakeChunk();
  void End();  // of what the client sends
  void Answer(const absl::StatusOr<UploadAnswer>& answer);
  void WatchIdle();

  grpc::CallbackServerContext* const context_;
  v1::UploadUpdateResponse* const response_;
  const ServiceDeps* const deps_;
  ByteBudget* const budget_;
  ClientLoads* const loads_;

  v1::UploadUpdateRequest request_;
  ClientId client_;  // set once its load is counted
  std::shared_ptr<UploadStream> stream_;
  bool holding_ = false;  // a chunk's worth of the budget

  std::atomic<int64_t> reads_ = 0;
  std::atomic<bool> ended_ = false;    // the client has sent all it wants
  EventLoop::TimerId idle_timer_ = 0;  // loop only
  Mutex mu_;
  bool done_ ABSL_GUARDED_BY(mu_) = false;  // the context is no longer ours
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_UPLOAD_REACTOR_H_
