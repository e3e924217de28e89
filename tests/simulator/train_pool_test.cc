#include "simulator/train_pool.h"

#include <atomic>
#include <future>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;

absl::Time At(int seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

TEST(TrainPool, RunsEverything) {
  std::atomic<int> ran = 0;
  TrainPool pool(3);
  std::vector<std::future<void>> done;
  for (int i = 0; i < 50; ++i) done.push_back(pool.Start(At(i), [&](TorchWorker&) { ++ran; }));
  for (auto& d : done) d.get();
  EXPECT_EQ(ran, 50);
}

TEST(TrainPool, WhatIsNeededFirstGoesFirst) {
  std::promise<void> release;
  std::vector<int> order;
  TrainPool pool(1);
  // Holds the only thread until the others are queued.
  auto gate =
      pool.Start(At(0), [future = release.get_future().share()](TorchWorker&) { future.wait(); });
  std::vector<std::future<void>> done;
  for (const int i : {3, 1, 2}) {
    done.push_back(pool.Start(At(i), [&order, i](TorchWorker&) { order.push_back(i); }));
  }
  release.set_value();
  gate.get();
  for (auto& d : done) d.get();
  EXPECT_THAT(order, ElementsAre(1, 2, 3));
}

TEST(TrainPool, EndsWithoutRunningWhatWaits) {
  std::promise<void> started, release;
  std::atomic<bool> ran = false;
  std::future<void> waiting;
  {
    auto pool = std::make_unique<TrainPool>(1);
    auto first = pool->Start(At(0), [&](TorchWorker&) {
      started.set_value();
      release.get_future().wait();
    });
    waiting = pool->Start(At(1), [&](TorchWorker&) { ran = true; });
    started.get_future().wait();
    std::thread closer([&pool] { pool.reset(); });
    release.set_value();
    closer.join();
    first.get();
  }
  if (!ran) {
    EXPECT_THROW(waiting.get(), std::future_error);
  } else {
    waiting.get();  // the thread was quicker than the closer: allowed
  }
}

}  // namespace
}  // namespace tributary
