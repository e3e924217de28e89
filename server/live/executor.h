// Where blocking work goes: disk and arithmetic never run on the event loop.
//
//   WorkerPool pool(4);
//   SerialLane numerics(&pool);        // one at a time, in order, on any of the pool's threads
//   numerics.Run([&] { …; loop.Post(done); });
#ifndef TRIBUTARY_SERVER_LIVE_EXECUTOR_H_
#define TRIBUTARY_SERVER_LIVE_EXECUTOR_H_

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "common/mutex.h"

namespace tributary {

// Thread-safe.
class Executor {
 public:
  using Task = absl::AnyInvocable<void()>;
  virtual ~Executor() = default;
  virtual void Run(Task task) = 0;
};

// A fixed number of threads and one queue.
class WorkerPool final : public Executor {
 public:
  explicit WorkerPool(int threads);  // >= 1
  // Runs what is queued, then ends the threads. Not on one of them.
  ~WorkerPool() override;

  void Run(Task task) override;

 private:
  void Work();

  Mutex mu_;
  CondVar wake_;
  std::deque<Task> tasks_ ABSL_GUARDED_BY(mu_);
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

// Runs its tasks one after another on another executor: what belongs to one file or one
// model needs no lock. Tasks that still wait when the lane is destroyed are run; an executor that
// ends without running its own drops them, for they may own the lane.
class SerialLane final : public Executor {
 public:
  // `executor` outlives the last task.
  explicit SerialLane(Executor* executor) : state_(std::make_shared<State>(executor)) {}

  void Run(Task task) override;

 private:
  struct State {
    explicit State(Executor* e) : executor(e) {}
    Executor* const executor;
    Mutex mu;
    std::deque<Task> tasks ABSL_GUARDED_BY(mu);
    bool running ABSL_GUARDED_BY(mu) = false;
  };
  static void Schedule(const std::shared_ptr<State>& state);
  static void RunNext(const std::shared_ptr<State>& state);

  const std::shared_ptr<State> state_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_EXECUTOR_H_
