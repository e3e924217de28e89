#include "client_sdk/app/signals.h"

#include <signal.h>
#include <unistd.h>

#include <latch>

#include "gtest/gtest.h"

namespace tributary {
namespace {

TEST(SignalWatcherTest, ASignalBecomesACall) {
  for (const int signal : {SIGINT, SIGTERM}) {
    SignalWatcher watcher;
    std::latch called(1);
    watcher.Watch([&] { called.count_down(); });
    EXPECT_FALSE(watcher.signalled());
    kill(getpid(), signal);
    called.wait();
    EXPECT_TRUE(watcher.signalled());
  }
}

TEST(SignalWatcherTest, ASignalBeforeTheWatchIsNotLost) {
  SignalWatcher watcher;
  kill(getpid(), SIGTERM);
  std::latch called(1);
  watcher.Watch([&] { called.count_down(); });
  called.wait();
  EXPECT_TRUE(watcher.signalled());
}

TEST(SignalWatcherTest, EndsWithoutASignal) {
  SignalWatcher watcher;
  watcher.Watch([] { FAIL() << "nobody called"; });
}

TEST(SignalWatcherDeathTest, ASecondSignalEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        SignalWatcher watcher;
        std::latch called(1);
        watcher.Watch([&] { called.count_down(); });
        kill(getpid(), SIGINT);
        called.wait();
        kill(getpid(), SIGINT);
        for (;;) pause();
      },
      ::testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace tributary
