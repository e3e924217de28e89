#include "client_sdk/internal/heartbeat.h"

#include <algorithm>

#include "absl/status/statusor.h"

namespace tributary::sdk {

Heartbeat::Heartbeat(Connection* connection, const WorkOrder& order, std::stop_source* work_stop)
    : connection_(connection), work_stop_(work_stop), interval_(Interval(order.liveness)) {
  {
    MutexLock lock(mu_);
    report_.job = order.job.id;
    report_.work_order = order.id;
  }
  thread_ = std::jthread([this] { Beat(); });
}

Heartbeat::~Heartbeat() {
  {
    MutexLock lock(mu_);
    ended_ = true;
  }
  end_.request_stop();
  wake_.NotifyAll();
}

void Heartbeat::SetProgress(int64_t steps_done, int64_t steps_total) {
  MutexLock lock(mu_);
  report_.steps_done = steps_done;
  report_.steps_total = steps_total;
}

bool Heartbeat::withdrawn() const {
  MutexLock lock(mu_);
  return withdrawn_;
}

absl::Duration Heartbeat::Interval(absl::Duration liveness) {
  if (liveness <= absl::ZeroDuration()) return absl::Minutes(1);
  return std::clamp(liveness / 3, absl::Milliseconds(1), absl::Minutes(1));
}

void Heartbeat::Beat() {
  for (;;) {
    ProgressReport report;
    {
      MutexLock lock(mu_);
      while (!ended_ && wake_.WaitFor(mu_, interval_)) {
      }
      if (ended_) return;
      report = report_;
    }
    const absl::StatusOr<bool> go_on = connection_->ReportProgress(report, end_.get_token());
    if (!go_on.ok() || *go_on) continue;
    {
      MutexLock lock(mu_);
      withdrawn_ = true;
    }
    work_stop_->request_stop();
    return;
  }
}

}  // namespace tributary::sdk
