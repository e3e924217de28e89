// Mutex, MutexLock and CondVar: std::mutex with clang's thread-safety annotations.
//
// Our own and not absl::Mutex, because ThreadSanitizer reports false races for
// Debian's uninstrumented Abseil and suppressing them would hide real ones.
//
//   class Table {
//     void Put(int key) { MutexLock lock(mu_); rows_.insert(key); }
//     Mutex mu_;
//     std::set<int> rows_ ABSL_GUARDED_BY(mu_);
//   };
#ifndef TRIBUTARY_COMMON_MUTEX_H_
#define TRIBUTARY_COMMON_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"

namespace tributary {

class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mu_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mu) ABSL_EXCLUSIVE_LOCK_FUNCTION(mu) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

// Wait in a loop that re-reads the guarded state: wake-ups may be spurious.
class CondVar {
 public:
  void Wait(Mutex& mu) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }

  // Waits at most `timeout` of real time; false if it passed without a wake-up.
  bool WaitFor(Mutex& mu, absl::Duration timeout) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
    std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
    // wait_until on the system clock, not wait_for: GCC 12's steady-clock wait is a
    // call that ThreadSanitizer does not know.
    const auto until = std::chrono::system_clock::now() +
                       absl::ToChronoMicroseconds(std::min(timeout, absl::Hours(24)));
    const bool woken = cv_.wait_until(lock, until) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }

  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_MUTEX_H_
