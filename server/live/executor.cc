#include "server/live/executor.h"

#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/check.h"

namespace tributary {

WorkerPool::WorkerPool(int threads) {
  TRIB_CHECK(threads >= 1);
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mu_);
    stopped_ = true;
    wake_.NotifyAll();
  }
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::Run(Task task) {
  MutexLock lock(mu_);
  tasks_.push_back(std::move(task));
  wake_.NotifyOne();
}

void WorkerPool::Work() {
  for (;;) {
    Task task;
    {
      MutexLock lock(mu_);
      while (tasks_.empty() && !stopped_) wake_.Wait(mu_);
      if (tasks_.empty()) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

void SerialLane::Run(Task task) {
  {
    MutexLock lock(state_->mu);
    state_->tasks.push_back(std::move(task));
    if (std::exchange(state_->running, true)) return;
  }
  Schedule(state_);
}

void SerialLane::Schedule(const std::shared_ptr<State>& state) {
  absl::Cleanup drop = [state] {
    std::deque<Task> dropped;  // destroyed after the lock is gone
    MutexLock lock(state->mu);
    dropped.swap(state->tasks);
  };
  state->executor->Run([state, drop = std::move(drop)]() mutable {
    std::move(drop).Cancel();
    RunNext(state);
  });
}

void SerialLane::RunNext(const std::shared_ptr<State>& state) {
  Task task;
  {
    MutexLock lock(state->mu);
    task = std::move(state->tasks.front());
    state->tasks.pop_front();
  }
  task();
  task = nullptr;  // its captures go before the next task starts
  {
    MutexLock lock(state->mu);
    if (state->tasks.empty()) {
      state->running = false;
      return;
    }
  }
  Schedule(state);
}

}  // namespace tributary
