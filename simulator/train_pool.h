// TrainPool: real threads that do the virtual clients' real work, each with a TorchWorker
// of its own. Which thread does what, and when, changes no result.
#ifndef TRIBUTARY_SIMULATOR_TRAIN_POOL_H_
#define TRIBUTARY_SIMULATOR_TRAIN_POOL_H_

#include <cstdint>
#include <functional>
#include <future>
#include <queue>
#include <thread>
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

  // Starts `body` on a free thread; of those that wait, the one needed first goes first.
  // The future is ready when it has run.
  std::future<void> Start(absl::Time needed_at, std::function<void(TorchWorker&)> body);

  // CPU time spent inside bodies so far, over all threads.
  absl::Duration busy() const;

 private:
  struct Task {
    absl::Time needed_at;
    uint64_t sequence;
    std::packaged_task<void(TorchWorker&)> body;
  };
  static bool Later(const Task& a, const Task& b) {
    return std::tie(a.needed_at, a.sequence) > std::tie(b.needed_at, b.sequence);
  }
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
