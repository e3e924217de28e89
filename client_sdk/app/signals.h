// SignalWatcher: SIGINT and SIGTERM as an ordinary call on an ordinary thread.
#ifndef TRIBUTARY_CLIENT_SDK_APP_SIGNALS_H_
#define TRIBUTARY_CLIENT_SDK_APP_SIGNALS_H_

#include <atomic>
#include <functional>
#include <thread>

namespace tributary {

// Make it before any other thread starts: it blocks the two signals for all that follow. The
// first one calls `on_signal`, a second one ends the process with code 130.
class SignalWatcher {
 public:
  SignalWatcher();
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

  // Starts watching; at most once. A signal that came before is not lost.
  void Watch(std::function<void()> on_signal);

  bool signalled() const { return signalled_; }

 private:
  std::atomic<bool> signalled_ = false;
  std::thread thread_;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_APP_SIGNALS_H_
