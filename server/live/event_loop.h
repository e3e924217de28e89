// EventLoop: one thread that runs tasks in the order in which they were posted, and timers
// by an injected clock. Everything of the live host that is not disk or arithmetic runs on
// it, so that nothing there needs a lock.
//
//   EventLoop loop(&clock);
//   loop.Start();
//   loop.Post([&] { host.CheckIn(…); });
//   loop.PostAt(clock.Now() + absl::Seconds(30), [&] { host.Expire(client); });
//
// Without Start the loop has no thread, and RunOne and RunReady run it on the caller's: this
// is how tests step through every interleaving with a SimulatedClock.
#ifndef TRIBUTARY_SERVER_LIVE_EVENT_LOOP_H_
#define TRIBUTARY_SERVER_LIVE_EVENT_LOOP_H_

#include <cstdint>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/mutex.h"

namespace tributary {

// Thread-safe, except that Start, Stop, RunOne and RunReady belong to the owner.
class EventLoop {
 public:
  using Task = absl::AnyInvocable<void()>;
  using TimerId = int64_t;

  // `clock` outlives this.
  explicit EventLoop(const Clock* clock) : clock_(clock) {}
  ~EventLoop() { Stop(); }
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  void Start();
  // Runs what was posted before, then ends the thread. Later posts and all timers are
  // dropped (destroyed without being run). Not on the loop itself.
  void Stop();

  void Post(Task task);
  // Timers run in the order of their times, equal ones in the order of posting, after the
  // tasks that were already waiting.
  TimerId PostAt(absl::Time at, Task task);
  // Once this returns on the loop, the timer will not run. Unknown ids are ignored.
  void Cancel(TimerId id);

  // Runs one task or due timer; false if there is none.
  bool RunOne();
  // Runs until nothing is ready.
  void RunReady();

 private:
  using TimerKey = std::pair<absl::Time, TimerId>;

  void Run();
  bool Take(Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Clock* const clock_;
  std::thread thread_;

  Mutex mu_;
  CondVar wake_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mu_);
  std::map<TimerKey, Task> timers_ ABSL_GUARDED_BY(mu_);
  std::map<TimerId, absl::Time> timer_times_ ABSL_GUARDED_BY(mu_);
  TimerId next_timer_ ABSL_GUARDED_BY(mu_) = 1;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_EVENT_LOOP_H_
