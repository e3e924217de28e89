// FaultProxy: a bad network on loopback. Passes TCP connections on to a server, and does to their
// bytes what a seeded schedule says.
//
//   auto proxy = FaultProxy::Start({.upstream_port = server_port, .seed = 1, …}, &clock);
//   options.server = absl::StrCat("127.0.0.1:", (*proxy)->port());
//
// It reads HTTP/2 frames as they pass, to hit what it means to hit: a bit of a payload (which a
// checksum must notice) or of a frame's length (which breaks the connection).
#ifndef TRIBUTARY_TESTS_TESTING_FAULT_PROXY_H_
#define TRIBUTARY_TESTS_TESTING_FAULT_PROXY_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/clock.h"
#include "common/rng.h"

namespace tributary::test {

enum class Fault {
  kCut,         // both ends are closed: in order, or by a reset
  kStall,       // nothing passes for a while, in both directions
  kDribble,     // the next bytes pass in pieces of 1 to 16
  kFlipData,    // a bit of a large DATA frame's payload
  kFlipLength,  // a high bit of a DATA frame's length
};
inline constexpr int kFaults = 5;

struct FaultProxyOptions {
  int upstream_port = 0;
  uint64_t seed = 0;
  // Bytes of one direction between two faults, on the average (exponential); 0: no faults.
  double mean_bytes_between_faults = 0;
  absl::Duration longest_stall = absl::Milliseconds(100);
  // Of each connection and direction; 0: as fast as it goes.
  double bytes_per_second = 0;
  // How many connections of a hundred wait until a later one has overtaken them, but no longer
  // than longest_stall.
  int overtaken_percent = 0;
};

// What has passed and what was done, so far.
struct FaultProxyCounts {
  int64_t connections = 0;
  int64_t overtaken = 0;
  int64_t up_bytes = 0;    // read from clients
  int64_t down_bytes = 0;  // read from the server
  int64_t faults[kFaults] = {};
  int64_t of(Fault fault) const { return faults[static_cast<int>(fault)]; }
};

// Thread-safe. One thread, which the destructor ends.
class FaultProxy {
 public:
  // `clock` outlives it. Unavailable: no socket.
  static absl::StatusOr<std::unique_ptr<FaultProxy>> Start(FaultProxyOptions options,
                                                           const Clock* clock);
  ~FaultProxy();

  int port() const { return port_; }
  FaultProxyCounts counts() const;
  // From now on the network is a good one.
  void EndFaults() { faults_over_ = true; }

 private:
  class Connection;
  FaultProxy(FaultProxyOptions options, const Clock* clock);

  void Run();
  void Accept(absl::Time now);

  const FaultProxyOptions options_;
  const Clock* const clock_;
  int listener_ = -1;
  int port_ = 0;
  int wake_[2] = {-1, -1};  // a pipe: its reading end becomes readable when it is over
  std::atomic<bool> faults_over_ = false;
  std::atomic<int64_t> connections_ = 0, overtaken_ = 0, up_bytes_ = 0, down_bytes_ = 0;
  std::atomic<int64_t> faults_[kFaults] = {};

  Rng rng_;  // these belong to the thread
  std::vector<std::unique_ptr<Connection>> open_;
  std::thread thread_;
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_FAULT_PROXY_H_
