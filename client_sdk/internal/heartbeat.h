// Heartbeat: tells the server, while a work order is worked on, that it is and how far.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_HEARTBEAT_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_HEARTBEAT_H_

#include <cstdint>
#include <stop_token>
#include <thread>

#include "absl/time/time.h"
#include "client_sdk/connection.h"
#include "common/mutex.h"

namespace tributary::sdk {

// Reports every third of the order's liveness, at least once a minute, from a thread of its
// own: a single long step of the trainer must not look like death. Reports that fail are
// left to the next beat. Thread-safe.
class Heartbeat {
 public:
  // Starts. When the server no longer wants the work, `work_stop` is asked to stop. Both
  // outlive this object.
  Heartbeat(Connection* connection, const WorkOrder& order, std::stop_source* work_stop);
  ~Heartbeat();  // ends the thread; a report under way is cancelled

  void SetProgress(int64_t steps_done, int64_t steps_total);

  // True once the server said that it does not want the work.
  bool withdrawn() const;

  static absl::Duration Interval(absl::Duration liveness);

 private:
  void Beat();

  Connection* const connection_;
  std::stop_source* const work_stop_;
  const absl::Duration interval_;
  std::stop_source end_;

  mutable Mutex mu_;
  CondVar wake_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  bool withdrawn_ ABSL_GUARDED_BY(mu_) = false;
  ProgressReport report_ ABSL_GUARDED_BY(mu_);

  std::jthread thread_;  // last: it uses all the others
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_HEARTBEAT_H_
