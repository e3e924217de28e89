// ThreadParallel: a Parallel on a fixed number of threads, to show that their number changes
// no bit.
#ifndef TRIBUTARY_TESTS_TESTING_THREAD_PARALLEL_H_
#define TRIBUTARY_TESTS_TESTING_THREAD_PARALLEL_H_

#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "aggregators/parallel.h"

namespace tributary::test {

// Thread-safe.
class ThreadParallel final : public Parallel {
 public:
  explicit ThreadParallel(int64_t threads) : threads_(threads) {}

  void For(int64_t size, const std::function<void(CoordinateRange)>& body) override {
    std::vector<std::jthread> running;
    for (int64_t t = 0; t < threads_; ++t) {
      const CoordinateRange part{size * t / threads_, size * (t + 1) / threads_};
      if (part.size() > 0) running.emplace_back([&body, part] { body(part); });
    }
  }

 private:
  const int64_t threads_;
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_THREAD_PARALLEL_H_
