// Retry: when to try a failed call again, and when to give up. Exponential back-off with
// full jitter (Brooker, "Exponential Backoff and Jitter", 2015): many clients that lost one
// server must not come back together.
//
//   Retry retry(options, clock, rng, stop);
//   for (;;) {
//     absl::Status status = Attempt();
//     if (status.ok()) return status;
//     TRIB_RETURN_IF_ERROR(retry.AfterFailure(status));
//   }
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_RETRY_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_RETRY_H_

#include <stop_token>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client_sdk/client_options.h"
#include "common/clock.h"
#include "common/rng.h"

namespace tributary::sdk {

// Unavailable, ResourceExhausted, DeadlineExceeded, Aborted, DataLoss.
bool IsRetryable(const absl::Status& status);

// Unauthenticated or PermissionDenied: nothing helps until a person acts.
bool IsNotAllowed(const absl::Status& status);

// Thread-compatible. `clock` outlives it.
class Retry {
 public:
  Retry(const RetryOptions& options, Clock* clock, Rng rng, std::stop_token stop);

  // Sleeps, then OK: try again. Otherwise what to return: `failure` when it is not retryable
  // or options.give_up_after has passed, Cancelled when stopped.
  absl::Status AfterFailure(const absl::Status& failure);

  // As AfterFailure, for any failure.
  absl::Status SleepAfter(const absl::Status& failure);

  // As AfterFailure, but when the server has said when to come back: at a moment drawn evenly from
  // [min_delay, max_delay].
  absl::Status SleepWithin(absl::Duration min_delay, absl::Duration max_delay,
                           const absl::Status& failure);

  // Something got through: the next delay is short again and the time to give up starts anew.
  void Succeeded();

 private:
  absl::Duration NextDelay();
  absl::Status Sleep(absl::Duration delay, const absl::Status& failure);

  const RetryOptions options_;
  Clock* const clock_;
  const std::stop_token stop_;
  Rng rng_;
  absl::Duration ceiling_;  // of the next delay; zero: none yet
  absl::Time give_up_at_;   // set by the first failure in a row
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_RETRY_H_
