// WatchReactor: one WatchJob call. Changes that come while a write is under way are told
// together in the next one; the last state of a job is always told.
#ifndef TRIBUTARY_SERVER_RPC_WATCH_REACTOR_H_
#define TRIBUTARY_SERVER_RPC_WATCH_REACTOR_H_

#include <optional>
#include <string>

#include "server/rpc/service.h"
#include "tributary/v1/operator.pb.h"

namespace tributary {

class WatchReactor final : public grpc::ServerWriteReactor<v1::Job> {
 public:
  WatchReactor(const ServiceDeps* deps, JobId job, const absl::Status& allowed);

 private:
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // On the loop, as all that follows.
  void Begin();
  void Changed();
  void End(const grpc::Status& status);

  const ServiceDeps* const deps_;
  const JobId job_;
  std::optional<int64_t> watcher_;
  v1::Job message_;
  std::string told_;  // the last message, serialised
  bool writing_ = false;
  bool last_ = false;  // the message being written is the last
  bool finished_ = false;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_WATCH_REACTOR_H_
