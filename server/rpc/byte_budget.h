// ByteBudget: a bound on bytes in flight. Whoever wants to hold bytes asks first and waits
// its turn; while an upload waits, nothing is read from its stream, and HTTP/2 flow control
// holds its client back.
#ifndef TRIBUTARY_SERVER_RPC_BYTE_BUDGET_H_
#define TRIBUTARY_SERVER_RPC_BYTE_BUDGET_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "common/mutex.h"

namespace tributary {

// Thread-safe.
class ByteBudget {
 public:
  explicit ByteBudget(int64_t bytes) : free_(bytes), total_(bytes) {}

  // Runs `granted` when `bytes` are free, in the order of asking: at once, on the caller's
  // thread, or on that of a Release. More than the whole budget is granted when all is free.
  void Acquire(int64_t bytes, absl::AnyInvocable<void()> granted) {
    {
      MutexLock lock(mu_);
      bytes = std::min(bytes, total_);
      if (!waiting_.empty() || free_ < bytes) {
        waiting_.emplace_back(bytes, std::move(granted));
        return;
      }
      free_ -= bytes;
    }
    granted();
  }

  // Once for each grant, with the number that was asked for.
  void Release(int64_t bytes) {
    std::deque<absl::AnyInvocable<void()>> granted;
    {
      MutexLock lock(mu_);
      free_ += std::min(bytes, total_);
      while (!waiting_.empty() && waiting_.front().first <= free_) {
        free_ -= waiting_.front().first;
        granted.push_back(std::move(waiting_.front().second));
        waiting_.pop_front();
      }
    }
    for (auto& run : granted) run();
  }

 private:
  Mutex mu_;
  int64_t free_ ABSL_GUARDED_BY(mu_);
  const int64_t total_;
  std::deque<std::pair<int64_t, absl::AnyInvocable<void()>>> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_RPC_BYTE_BUDGET_H_
