#include "server/live/pool_parallel.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "aggregators/combine/aggregator.h"
#include "common/codec/codec.h"
#include "common/mutex.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using ::testing::Each;

// Keeps its tasks until it is told to run them.
class LateExecutor final : public Executor {
 public:
  void Run(Task task) override { tasks_.push_back(std::move(task)); }
  size_t size() const { return tasks_.size(); }
  void RunAll() {
    for (Task& task : tasks_) task();
  }

 private:
  std::vector<Task> tasks_;
};

TEST(PoolParallelTest, PartsCoverTheRangeOnceAndAreNoSmallerThanTheGrain) {
  WorkerPool pool(3);
  for (const int helpers : {0, 1, 3, 7}) {
    PoolParallel parallel(&pool, helpers, 10);
    for (const int64_t size : {0, 1, 9, 19, 20, 21, 1000, 1003}) {
      std::vector<int> seen(static_cast<size_t>(size));
      Mutex mu;
      std::vector<int64_t> sizes;
      parallel.For(size, [&](CoordinateRange part) {
        for (int64_t i = part.begin; i < part.end; ++i) ++seen[static_cast<size_t>(i)];
        MutexLock lock(mu);
        sizes.push_back(part.size());
      });
      EXPECT_THAT(seen, Each(1)) << helpers << " " << size;
      if (size < 20) {
        EXPECT_EQ(sizes.size(), 1U) << helpers << " " << size;
      } else {
        EXPECT_GT(sizes.size(), 1U);
        EXPECT_GE(*std::min_element(sizes.begin(), sizes.end()), 10) << helpers << " " << size;
      }
    }
  }
}

TEST(PoolParallelTest, SmallRangesAskForNoHelp) {
  LateExecutor pool;
  PoolParallel parallel(&pool, 3);
  int64_t done = 0;
  parallel.For(2 * PoolParallel::kGrain - 1, [&](CoordinateRange part) { done += part.size(); });
  EXPECT_EQ(done, 2 * PoolParallel::kGrain - 1);
  EXPECT_EQ(pool.size(), 0U);
}

TEST(PoolParallelTest, TheCallerDoesAloneWhatNobodyHelpsWith) {
  LateExecutor pool;
  {
    PoolParallel parallel(&pool, 3, 1);
    int64_t done = 0;
    parallel.For(1000, [&](CoordinateRange part) { done += part.size(); });
    EXPECT_EQ(done, 1000);
    EXPECT_EQ(pool.size(), 3U);
  }
  pool.RunAll();  // what the body took by reference is gone
}

TEST(PoolParallelTest, AHelperRunsWhileTheCallerDoes) {
  WorkerPool pool(1);
  PoolParallel parallel(&pool, 1, 1);
  // Each thread waits in its first part for the other to have one.
  Mutex mu;
  CondVar changed;
  std::vector<std::thread::id> threads;
  parallel.For(1000, [&](CoordinateRange) {
    MutexLock lock(mu);
    const std::thread::id self = std::this_thread::get_id();
    if (std::find(threads.begin(), threads.end(), self) != threads.end()) return;
    threads.push_back(self);
    changed.NotifyAll();
    while (threads.size() < 2) changed.Wait(mu);
  });
  EXPECT_EQ(threads.size(), 2U);
}

TEST(PoolParallelTest, CallersShareThePool) {
  WorkerPool pool(2);
  PoolParallel parallel(&pool, 2, 1);
  std::vector<std::vector<int>> seen(4, std::vector<int>(10'000));
  {
    std::vector<std::jthread> callers;
    for (std::vector<int>& mine : seen) {
      callers.emplace_back([&parallel, &mine] {
        for (int round = 0; round < 20; ++round) {
          parallel.For(10'000, [&mine](CoordinateRange part) {
            for (int64_t i = part.begin; i < part.end; ++i) ++mine[static_cast<size_t>(i)];
          });
        }
      });
    }
  }
  for (const std::vector<int>& mine : seen) EXPECT_THAT(mine, Each(20));
}

// The whole of a group in every format, with parts that begin anywhere.
TEST(PoolParallelTest, SumsHaveTheSameBitsOnAnyNumberOfThreads) {
  constexpr int64_t kSize = 100'003;
  const LayoutPtr layout = test::FlatLayout(kSize, 5);
  WorkerPool pool(3);
  const auto sum = [&](const std::string& format, Parallel* parallel) {
    const auto codec = CreateCodec({{.name = format}}).value();
    auto mean =
        AggregatorRegistry()
            .Create({.name = "fedavg"}, AggregatorDeps{.layout = layout, .parallel = parallel})
            .value();
    for (uint64_t i = 1; i <= 3; ++i) {
      const CodecContext context{.layout = layout, .rng = Rng(i)};
      const ParamVector delta = test::RandomParams(layout, i);
      Update update = test::MakeUpdate(
          delta, {.work_order = static_cast<WorkOrderId>(i), .num_examples = 7, .local_steps = 1});
      update.delta = codec->Decode(codec->Encode(delta.trainable(), context), context).value();
      EXPECT_THAT(mean->Accumulate(update, {.client = ClientId("c")}), IsOk());
    }
    auto made = std::move(*mean).Finish().value();
    const double norm = SquaredNorm(made.delta.trainable(), parallel);
    return std::pair(std::move(made.delta), norm);
  };
  for (const std::string format : {"raw", "fp16", "bf16", "int8", "int4", "sign", "topk"}) {
    const auto [serial, serial_norm] = sum(format, nullptr);
    for (const int helpers : {0, 1, 2, 3}) {
      PoolParallel parallel(&pool, helpers, 1000);
      const auto [delta, norm] = sum(format, &parallel);
      EXPECT_THAT(delta, test::ParamsNear(serial, 0)) << format << " " << helpers;
      EXPECT_EQ(norm, serial_norm) << format << " " << helpers;
    }
  }
}

}  // namespace
}  // namespace tributary
