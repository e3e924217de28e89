#include "client_sdk/app/signals.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <utility>

namespace tributary {
namespace {

constexpr int kInterrupted = 130;
constexpr int kEndOfWatch = SIGUSR1;

sigset_t Watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, kEndOfWatch);
  return set;
}

}  // namespace

SignalWatcher::SignalWatcher() {
  const sigset_t set = Watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

SignalWatcher::~SignalWatcher() {
  if (!thread_.joinable()) return;
  pthread_kill(thread_.native_handle(), kEndOfWatch);
  thread_.join();
}

void SignalWatcher::Watch(std::function<void()> on_signal) {
  thread_ = std::thread([this, on_signal = std::move(on_signal)] {
    const sigset_t set = Watched();
    int signal = 0;
    while (sigwait(&set, &signal) == 0 && signal != kEndOfWatch) {
      if (signalled_.exchange(true)) _exit(kInterrupted);
      on_signal();
    }
  });
}

}  // namespace tributary
