// What gRPC alone can do: 1 MiB chunks from client threads to a server in another process that
// throws them away. The limit that a round is measured against.
#ifndef TRIBUTARY_TESTS_BENCH_BARE_STREAM_H_
#define TRIBUTARY_TESTS_BENCH_BARE_STREAM_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "tests/testing/subprocess.h"

namespace tributary::bench {

// PEM files on both ends; empty: without TLS.
struct TlsFiles {
  std::string ca, certificate, key;
  bool empty() const { return ca.empty(); }
};

// Serves until its standard input ends; never returns before. Prints "bare PORT".
int ServeBare(const TlsFiles& tls);

// Runs `ServeBare` in a child: this program with the flags that make main call it.
class BareServer {
 public:
  static absl::StatusOr<std::unique_ptr<BareServer>> Start(const TlsFiles& tls);

  // Bytes a second when `clients` connections send `bytes` each, all at once.
  absl::StatusOr<double> Measure(int clients, int64_t bytes) const;

 private:
  BareServer(std::unique_ptr<test::Subprocess> process, std::string address, TlsFiles tls);

  const std::unique_ptr<test::Subprocess> process_;
  const std::string address_;
  const TlsFiles tls_;
};

}  // namespace tributary::bench

#endif  // TRIBUTARY_TESTS_BENCH_BARE_STREAM_H_
