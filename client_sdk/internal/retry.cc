#include "client_sdk/internal/retry.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tributary::sdk {

bool IsRetryable(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

bool IsNotAllowed(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status);
}

Retry::Retry(const RetryOptions& options, Clock* clock, Rng rng, std::stop_token stop)
    : options_(options), clock_(clock), stop_(std::move(stop)), rng_(std::move(rng)) {}

absl::Status Retry::AfterFailure(const absl::Status& failure) {
  if (stop_.stop_requested()) return absl::CancelledError("stopped");
  if (!IsRetryable(failure)) return failure;
  return SleepAfter(failure);
}

absl::Status Retry::SleepAfter(const absl::Status& failure) { return Sleep(NextDelay(), failure); }

absl::Status Retry::SleepWithin(absl::Duration min_delay, absl::Duration max_delay,
                                const absl::Status& failure) {
  if (stop_.stop_requested()) return absl::CancelledError("stopped");
  NextDelay();  // one more failure in a row
  return Sleep(min_delay + (max_delay - min_delay) * rng_.Uniform(), failure);
}

absl::Duration Retry::NextDelay() {
  if (ceiling_ == absl::ZeroDuration()) {
    ceiling_ = std::min(options_.first_delay, options_.max_delay);
    give_up_at_ = clock_->Now() + options_.give_up_after;
  }
  const absl::Duration delay = ceiling_ * rng_.Uniform();
  ceiling_ = std::min(ceiling_ * 2, options_.max_delay);
  return delay;
}

absl::Status Retry::Sleep(absl::Duration delay, const absl::Status& failure) {
  const absl::Duration left = give_up_at_ - clock_->Now();
  if (left <= absl::ZeroDuration()) return failure;
  if (!clock_->SleepFor(std::min(delay, left), stop_)) return absl::CancelledError("stopped");
  return absl::OkStatus();
}

void Retry::Succeeded() { ceiling_ = absl::ZeroDuration(); }

}  // namespace tributary::sdk
