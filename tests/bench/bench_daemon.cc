#include "tests/bench/bench_daemon.h"

#include <unistd.h>

#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"

namespace tributary::bench {

std::string ClientName(int index) { return absl::StrCat("client-", index); }

absl::StatusOr<test::Certificates> CreateCertificates(const std::string& dir, int clients) {
  std::vector<std::string> names = {kServerName};
  for (int i = 0; i < clients; ++i) names.push_back(ClientName(i));
  return test::Certificates::Create(dir, names);
}

absl::StatusOr<std::unique_ptr<BenchDaemon>> BenchDaemon::Start(const test::Certificates* tls) {
  auto daemon = std::unique_ptr<BenchDaemon>(new BenchDaemon(tls));
  const std::string settings =
      tls == nullptr ? "" : test::TlsSettings(*tls, tls->ca(), kServerName);
  TRIB_ASSIGN_OR_RETURN(daemon->daemon_, test::Daemon::Start(settings));
  return daemon;
}

absl::StatusOr<std::string> BenchDaemon::Submit(const std::string& job) const {
  std::vector<std::string> args;
  if (tls_ != nullptr) {
    args = {"--ca",   tls_->ca(),
            "--cert", tls_->CertificateOf(kServerName),
            "--key",  tls_->KeyOf(kServerName)};
  }
  args.insert(args.end(), {"job", "submit", daemon_->dir().Write("job.yaml", job)});
  const test::Completed done = daemon_->Tool(args);
  if (done.exit.code != 0) return absl::InternalError(done.err);
  return done.out.substr(0, done.out.find('\n'));
}

ClientOptions BenchDaemon::OptionsOf(int client) const {
  ClientOptions options;
  options.server = daemon_->address();
  options.id = ClientId(ClientName(client));
  if (tls_ != nullptr) {
    options.ca_file = tls_->ca();
    options.cert_file = tls_->CertificateOf(ClientName(client));
    options.key_file = tls_->KeyOf(ClientName(client));
  }
  return options;
}

int64_t BenchDaemon::StatusBytes(const std::string& key) const {
  std::ifstream status(absl::StrCat("/proc/", daemon_->pid(), "/status"));
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == key && status >> kib) return kib * 1024;
  }
  return 0;
}

absl::Duration BenchDaemon::cpu() const {
  std::ifstream file(absl::StrCat("/proc/", daemon_->pid(), "/stat"));
  std::string stat;
  std::getline(file, stat);
  // Fields 14 and 15; the second, in brackets, may hold spaces.
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(stat.rfind(')') + 2), ' ');
  const double ticks = std::stod(fields.at(11)) + std::stod(fields.at(12));
  return absl::Seconds(ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace tributary::bench
