#include "server/live/event_loop.h"

#include "common/check.h"

namespace tributary {

void EventLoop::Start() {
  TRIB_CHECK(!thread_.joinable());
  thread_ = std::thread([this] { Run(); });
}

void EventLoop::Stop() {
  std::deque<Task> tasks;
  std::map<TimerKey, Task> timers;
  {
    MutexLock lock(mu_);
    stopped_ = true;
    timers.swap(timers_);
    timer_times_.clear();
    if (!thread_.joinable()) tasks.swap(tasks_);
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.join();
}

void EventLoop::Post(Task task) {
  MutexLock lock(mu_);
  if (stopped_) return;
  tasks_.push_back(std::move(task));
  wake_.NotifyAll();
}

EventLoop::TimerId EventLoop::PostAt(absl::Time at, Task task) {
  MutexLock lock(mu_);
  const TimerId id = next_timer_++;
  if (stopped_) return id;
  timers_.emplace(TimerKey(at, id), std::move(task));
  timer_times_[id] = at;
  wake_.NotifyAll();
  return id;
}

void EventLoop::Cancel(TimerId id) {
  Task task;  // destroyed after the lock is let go: its captures may post
  MutexLock lock(mu_);
  const auto it = timer_times_.find(id);
  if (it == timer_times_.end()) return;
  const auto timer = timers_.find(TimerKey(it->second, id));
  task = std::move(timer->second);
  timers_.erase(timer);
  timer_times_.erase(it);
}

bool EventLoop::Take(Task& task) {
  if (!tasks_.empty()) {
    task = std::move(tasks_.front());
    tasks_.pop_front();
    return true;
  }
  const auto first = timers_.begin();
  if (first == timers_.end() || first->first.first > clock_->Now()) return false;
  task = std::move(first->second);
  timer_times_.erase(first->first.second);
  timers_.erase(first);
  return true;
}

bool EventLoop::RunOne() {
  Task task;
  {
    MutexLock lock(mu_);
    if (!Take(task)) return false;
  }
  task();
  return true;
}

void EventLoop::RunReady() {
  while (RunOne()) {
  }
}

void EventLoop::Run() {
  for (;;) {
    RunReady();
    MutexLock lock(mu_);
    if (!tasks_.empty()) continue;
    if (stopped_) return;
    if (timers_.empty()) {
      wake_.Wait(mu_);
    } else if (const absl::Duration left = timers_.begin()->first.first - clock_->Now();
               left > absl::ZeroDuration()) {
      wake_.WaitFor(mu_, left);
    }
  }
}

}  // namespace tributary
