// BenchDaemon: a tributaryd in a process of its own with a job, and what it costs: memory from
// /proc/PID/status, CPU time from /proc/PID/stat.
#ifndef TRIBUTARY_TESTS_BENCH_BENCH_DAEMON_H_
#define TRIBUTARY_TESTS_BENCH_BENCH_DAEMON_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client_sdk/client_options.h"
#include "tests/testing/subprocess.h"

namespace tributary::bench {

// Certificates for one run: an authority, a server's, one for each client.
class Certificates {
 public:
  // Made with openssl(1) under `dir`; client i is called ClientName(i).
  static absl::StatusOr<Certificates> Create(const std::string& dir, int clients);

  std::string ca() const { return dir_ + "/ca.pem"; }
  std::string CertificateOf(const std::string& name) const { return dir_ + "/" + name + ".pem"; }
  std::string KeyOf(const std::string& name) const { return dir_ + "/" + name + ".key"; }

 private:
  explicit Certificates(std::string dir) : dir_(std::move(dir)) {}
  std::string dir_;
};

std::string ClientName(int index);
constexpr char kServerName[] = "server";  // of the server's certificate files; also an operator

class BenchDaemon {
 public:
  // `tls` null: loopback without TLS; else it outlives this.
  static absl::StatusOr<std::unique_ptr<BenchDaemon>> Start(const Certificates* tls);

  // `job`: the job file's text. Returns the job's id.
  absl::StatusOr<std::string> Submit(const std::string& job) const;
  ClientOptions OptionsOf(int client) const;
  // SIGTERM, and it ended by itself with code 0.
  absl::Status Stop();

  int64_t peak_rss_bytes() const { return StatusBytes("VmHWM:"); }
  int64_t rss_bytes() const { return StatusBytes("VmRSS:"); }
  int64_t anonymous_bytes() const { return StatusBytes("RssAnon:"); }
  absl::Duration cpu() const;  // user and system, since it started

 private:
  explicit BenchDaemon(const Certificates* tls) : tls_(tls) {}
  int64_t StatusBytes(const std::string& key) const;

  const Certificates* const tls_;
  const test::TempDir dir_;
  std::unique_ptr<test::Subprocess> process_;
  std::string address_;
};

}  // namespace tributary::bench

#endif  // TRIBUTARY_TESTS_BENCH_BENCH_DAEMON_H_
