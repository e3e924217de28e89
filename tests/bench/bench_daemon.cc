#include "tests/bench/bench_daemon.h"

#include <unistd.h>

#include <csignal>
#include <fstream>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/substitute.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary::bench {
namespace {

constexpr char kConfig[] = R"(listen: localhost:0
data_dir: $0
http: {listen: "127.0.0.1:0"}
tls: {certificate: $1, key: $2, client_ca: $3, operators: [server]}
)";

}  // namespace

std::string ClientName(int index) { return absl::StrCat("client-", index); }

absl::StatusOr<test::Certificates> CreateCertificates(const std::string& dir, int clients) {
  std::vector<std::string> names = {kServerName};
  for (int i = 0; i < clients; ++i) names.push_back(ClientName(i));
  return test::Certificates::Create(dir, names);
}

absl::StatusOr<std::unique_ptr<BenchDaemon>> BenchDaemon::Start(const test::Certificates* tls) {
  auto daemon = std::unique_ptr<BenchDaemon>(new BenchDaemon(tls));
  const std::string data = daemon->dir_.File("data");
  const std::string ports_file = daemon->dir_.File("ports.json");
  std::vector<std::string> command = {test::BinaryPath("tributaryd"), "--ports-file", ports_file};
  if (tls == nullptr) {
    command.insert(command.end(), {"--dev", "--data-dir", data});
  } else {
    command.insert(command.end(),
                   {"--config", daemon->dir_.Write(
                                    "tributaryd.yaml",
                                    absl::Substitute(kConfig, data, tls->CertificateOf(kServerName),
                                                     tls->KeyOf(kServerName), tls->ca()))});
  }
  TRIB_ASSIGN_OR_RETURN(daemon->process_, test::Subprocess::Start(command));
  TRIB_RETURN_IF_ERROR(daemon->process_->WaitForLine("listening", absl::Seconds(30)).status());
  const nlohmann::json ports = nlohmann::json::parse(test::ReadFile(ports_file));
  daemon->address_ = absl::StrCat("localhost:", ports.at("grpc").get<int>());
  return daemon;
}

absl::StatusOr<std::string> BenchDaemon::Submit(const std::string& job) const {
  std::vector<std::string> command = {test::BinaryPath("tributary"), "--server", address_};
  if (tls_ != nullptr) {
    command.insert(command.end(), {"--ca", tls_->ca(), "--cert", tls_->CertificateOf(kServerName),
                                   "--key", tls_->KeyOf(kServerName)});
  }
  command.insert(command.end(), {"job", "submit", dir_.Write("job.yaml", job)});
  const test::Completed done = test::RunToEnd(command);
  if (done.exit.code != 0) return absl::InternalError(done.err);
  return done.out.substr(0, done.out.find('\n'));
}

ClientOptions BenchDaemon::OptionsOf(int client) const {
  ClientOptions options;
  options.server = address_;
  options.id = ClientId(ClientName(client));
  if (tls_ != nullptr) {
    options.ca_file = tls_->ca();
    options.cert_file = tls_->CertificateOf(ClientName(client));
    options.key_file = tls_->KeyOf(ClientName(client));
  }
  return options;
}

absl::Status BenchDaemon::Stop() {
  process_->Signal(SIGTERM);
  TRIB_ASSIGN_OR_RETURN(const test::Exit exit, process_->Wait(absl::Minutes(1)));
  if (exit.code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("tributaryd: ", process_->err()));
}

int64_t BenchDaemon::StatusBytes(const std::string& key) const {
  std::ifstream status(absl::StrCat("/proc/", process_->pid(), "/status"));
  for (std::string word; status >> word;) {
    int64_t kib = 0;
    if (word == key && status >> kib) return kib * 1024;
  }
  return 0;
}

absl::Duration BenchDaemon::cpu() const {
  std::ifstream file(absl::StrCat("/proc/", process_->pid(), "/stat"));
  std::string stat;
  std::getline(file, stat);
  // Fields 14 and 15; the second, in brackets, may hold spaces.
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(stat.rfind(')') + 2), ' ');
  const double ticks = std::stod(fields.at(11)) + std::stod(fields.at(12));
  return absl::Seconds(ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace tributary::bench
