// TrainPool: real threads that do the virtual clients' real work, each with a TorchWorker
// of its own. Which thread does what, and when, changes no result.
#ifndef TRIBUTARY_SIMULATOR_TRAIN_POOL_H_
#define TRIBUTARY_SIMULATOR_TRAIN_POOL_H_

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/mutex.h"

namespace tributary {

// Thread-safe.
class TrainPool {
 public:
  explicit TrainPool(int threads);
  ~TrainPool();  // waits for what is running; what is not started is dropped
  TrainPool(const TrainPool&) = delete;
  TrainPool& operator=(const TrainPool&) = delete;

  // Starts `body`, which takes a TorchWorker&, on a free thread; of those that wait, the one
  // needed first goes first. The future has what it returned.
  template <typename Body>
  std::future<std::invoke_result_t<Body&, TorchWorker&>> Start(absl::Time needed_at, Body body) {
    using Result = std::invoke_result_t<Body&, TorchWorker&>;
    auto task = std::make_shared<std::packaged_task<Result(TorchWorker&)>>(std::move(body));
    std::future<Result> done = task->get_future();
    Enqueue(needed_at, [task = std::move(task)](TorchWorker& worker) { (*task)(worker); });
    return done;
  }

  // CPU time spent inside bodies so far, over all threads.
  absl::Duration busy() const;

 private:
  struct Task {
    absl::Time needed_at;
    uint64_t sequence;
    std::function<void(TorchWorker&)> body;
  };
  static bool Later(const Task& a, const Task& b) {
    return std::tie(a.needed_at, a.sequence) > std::tie(b.needed_at, b.sequence);
  }
  void Enqueue(absl::Time needed_at, std::function<void(TorchWorker&)> body);
  void Work();

  mutable Mutex mu_;
  CondVar changed_;
  std::vector<Task> waiting_ ABSL_GUARDED_BY(mu_);  // a heap by Later
  uint64_t next_sequence_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  absl::Duration busy_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_TRAIN_POOL_H_
