// BenchDaemon: a tributaryd with a job, and what it costs: memory from /proc/PID/status, CPU time
// from /proc/PID/stat.
#ifndef TRIBUTARY_TESTS_BENCH_BENCH_DAEMON_H_
#define TRIBUTARY_TESTS_BENCH_BENCH_DAEMON_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client_sdk/client_options.h"
#include "tests/testing/certificates.h"
#include "tests/testing/daemon.h"

namespace tributary::bench {

std::string ClientName(int index);
constexpr char kServerName[] = "server";  // of the server's certificate files; also an operator
// For the server and so many clients, in `dir`.
absl::StatusOr<test::Certificates> CreateCertificates(const std::string& dir, int clients);

class BenchDaemon {
 public:
  // `tls` null: loopback without TLS; else it outlives this.
  static absl::StatusOr<std::unique_ptr<BenchDaemon>> Start(const test::Certificates* tls);

  // `job`: the job file's text. Returns the job's id.
  absl::StatusOr<std::string> Submit(const std::string& job) const;
  ClientOptions OptionsOf(int client) const;
  absl::Status Stop() { return daemon_->Stop(); }

  int64_t peak_rss_bytes() const { return StatusBytes("VmHWM:"); }
  int64_t rss_bytes() const { return StatusBytes("VmRSS:"); }
  int64_t anonymous_bytes() const { return StatusBytes("RssAnon:"); }
  int64_t file_bytes() const { return StatusBytes("RssFile:"); }  // of programs and libraries
  absl::Duration cpu() const;  // user and system, since it started

 private:
  explicit BenchDaemon(const test::Certificates* tls) : tls_(tls) {}
  int64_t StatusBytes(const std::string& key) const;

  const test::Certificates* const tls_;
  std::unique_ptr<test::Daemon> daemon_;
};

}  // namespace tributary::bench

#endif  // TRIBUTARY_TESTS_BENCH_BENCH_DAEMON_H_
