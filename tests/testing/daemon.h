// Daemon: tributaryd in a process of its own, on one port and one data directory however often it
// is killed.
//
//   auto daemon = Daemon::Start();
//   (*daemon)->Tool({"job", "submit", (*daemon)->dir().Write("job.yaml", kJob)});
//   (*daemon)->KillAndRestart();
#ifndef TRIBUTARY_TESTS_TESTING_DAEMON_H_
#define TRIBUTARY_TESTS_TESTING_DAEMON_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "tests/testing/certificates.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {

// Settings for a Daemon whose certificate is that of "server" from `authority`, and that trusts
// whom `client_ca` has signed; `operator_name` is an operator.
std::string TlsSettings(const Certificates& authority, const std::string& client_ca,
                        const std::string& operator_name);

// Thread-compatible; what does not restart it may be called while another thread does.
class Daemon {
 public:
  // `settings`: what tributaryd.yaml holds beside listen, data_dir and http.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(const std::string& settings = "");

  absl::Status KillAndRestart();
  // SIGTERM, and it ended by itself with code 0. Ends this object's use.
  absl::Status Stop();

  // Runs the operator's tool against it.
  Completed Tool(const std::vector<std::string>& args) const { return RunToEnd(ToolCommand(args)); }
  std::vector<std::string> ToolCommand(std::vector<std::string> args) const;
  // What the tool prints with --json; discarded() if that is no JSON.
  nlohmann::json Show(std::vector<std::string> args) const;

  int port() const { return port_; }
  std::string address() const;
  pid_t pid() const { return process_->pid(); }
  std::string data_dir() const { return dir_.File("data"); }
  const TempDir& dir() const { return dir_; }

 private:
  Daemon() = default;
  absl::Status Run();

  const TempDir dir_;
  std::string settings_;
  std::unique_ptr<Subprocess> process_;
  int port_ = 0;
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_DAEMON_H_
