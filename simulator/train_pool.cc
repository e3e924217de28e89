#include "simulator/train_pool.h"

#include <algorithm>
#include <utility>

#include "common/clock.h"

namespace tributary {

TrainPool::TrainPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

TrainPool::~TrainPool() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void TrainPool::Enqueue(absl::Time needed_at, std::function<void(TorchWorker&)> body) {
  {
    MutexLock lock(mu_);
    waiting_.push_back({needed_at, next_sequence_++, std::move(body)});
    std::push_heap(waiting_.begin(), waiting_.end(), Later);
  }
  changed_.NotifyOne();
}

absl::Duration TrainPool::busy() const {
  MutexLock lock(mu_);
  return busy_;
}

void TrainPool::Work() {
  TorchWorker worker;
  for (;;) {
    Task task;
    {
      MutexLock lock(mu_);
      while (waiting_.empty() && !stopping_) changed_.Wait(mu_);
      if (stopping_) return;
      std::pop_heap(waiting_.begin(), waiting_.end(), Later);
      task = std::move(waiting_.back());
      waiting_.pop_back();
    }
    const absl::Duration before = ThreadCpuTime();
    task.body(worker);
    const absl::Duration spent = ThreadCpuTime() - before;
    MutexLock lock(mu_);
    busy_ += spent;
  }
}

}  // namespace tributary
