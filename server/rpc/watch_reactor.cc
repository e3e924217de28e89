#include "server/rpc/watch_reactor.h"

#include <utility>

#include "server/rpc/wire.h"

namespace tributary {

WatchReactor::WatchReactor(const ServiceDeps* deps, JobId job, const absl::Status& allowed)
    : deps_(deps), job_(std::move(job)) {
  deps_->loop->Post([this, allowed] {
    if (!allowed.ok()) return End(ToGrpc(allowed));
    Begin();
  });
}

void WatchReactor::Begin() {
  const auto watcher = deps_->host->Watch(job_, [this] { Changed(); });
  if (!watcher.ok()) return End(ToGrpc(watcher.status()));
  watcher_ = *watcher;
  Changed();
}

void WatchReactor::Changed() {
  if (writing_ || finished_) return;
  const JobView view = *deps_->host->GetJob(job_);
  message_.Clear();
  wire::Put(view, &message_);
  last_ = IsEnded(view.progress.state);
  std::string text = message_.SerializeAsString();
  if (text != told_) {
    told_ = std::move(text);
    writing_ = true;
    return StartWrite(&message_);
  }
  if (last_) return End(grpc::Status::OK);
  if (deps_->host->draining()) {
    End(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is shutting down"));
  }
}

void WatchReactor::End(const grpc::Status& status) {
  if (std::exchange(finished_, true)) return;
  if (watcher_) {  // posted: this may be the watcher that is running
    deps_->loop->Post([deps = deps_, job = job_, id = *watcher_] { deps->host->Unwatch(job, id); });
  }
  Finish(status);
}

void WatchReactor::OnWriteDone(bool ok) {
  deps_->loop->Post([this, ok] {
    writing_ = false;
    if (!ok) return End(grpc::Status::CANCELLED);
    Changed();  // what came meanwhile, or the end
  });
}

void WatchReactor::OnCancel() {
  deps_->loop->Post([this] {
    if (!writing_) End(grpc::Status::CANCELLED);
  });
}

void WatchReactor::OnDone() {
  deps_->loop->Post([this] { delete this; });
}

}  // namespace tributary
