#include "server/live/pool_parallel.h"

#include <algorithm>
#include <memory>

#include "common/check.h"

namespace tributary {
namespace {

// More parts than threads: one that is held up keeps the others from waiting long.
constexpr int64_t kPartsPerThread = 4;

// One call of For. A helper that comes when all parts are taken finds nothing to do, and may come
// when the call is over.
class Loop {
 public:
  Loop(int64_t size, int64_t parts, const std::function<void(CoordinateRange)>& body)
      : size_(size), parts_(parts), body_(body), left_(parts) {}

  void RunParts() {
    MutexLock lock(mu_);
    while (taken_ < parts_) {
      const int64_t part = taken_++;
      mu_.Unlock();
      body_({size_ * part / parts_, size_ * (part + 1) / parts_});
      mu_.Lock();
      if (--left_ == 0) done_.NotifyAll();
    }
  }

  void Wait() {
    MutexLock lock(mu_);
    while (left_ > 0) done_.Wait(mu_);
  }

 private:
  const int64_t size_;
  const int64_t parts_;
  const std::function<void(CoordinateRange)>& body_;  // there while left_ > 0
  Mutex mu_;
  CondVar done_;
  int64_t taken_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t left_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

PoolParallel::PoolParallel(Executor* pool, int helpers, int64_t grain)
    : pool_(pool), helpers_(helpers), grain_(grain) {
  TRIB_CHECK(helpers >= 0 && grain >= 1);
}

void PoolParallel::For(int64_t size, const std::function<void(CoordinateRange)>& body) {
  const int64_t parts = std::min(size / grain_, kPartsPerThread * (int64_t{helpers_} + 1));
  if (parts < 2) return body({0, size});
  const auto loop = std::make_shared<Loop>(size, parts, body);
  for (int64_t i = 0; i < std::min<int64_t>(helpers_, parts - 1); ++i) {
    pool_->Run([loop] { loop->RunParts(); });
  }
  loop->RunParts();
  loop->Wait();
}

}  // namespace tributary
