// tributaryd: parses, validates, wires everything together, and ends it in order.
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/cli/exit_code.h"
#include "common/clock.h"
#include "common/durable_file.h"
#include "common/log.h"
#include "common/malloc_tuning.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "server/config.h"
#include "server/server.h"

namespace tributary {
namespace {

using cli::ExitCode;

constexpr char kFooter[] =
    "Example:\n"
    "  tributaryd --dev --data-dir /tmp/tributary\n"
    "  tributaryd --config /etc/tributary/tributaryd.yaml\n\n"
    "Exit codes: 0 done, 1 failed, 2 usage, 3 configuration refused.\n"
    "docs/operations.md describes the configuration.";

struct Flags {
  std::string config, data_dir, ports_file;
  bool dev = false;
  bool check_config = false;
};

// Models go back to the system, and threads share what is left: the daemon's memory stays a small
// number of models.
void TameMalloc() {
  TuneMalloc(4 << 20);
  mallopt(M_ARENA_MAX, 2);
}

// Left alone, gRPC 1.51 keeps room for the largest read so far ready on every connection that has
// moved a chunk: 1.6 MB each, measured with 50 clients. The older way of reading, which this
// chooses, is no slower and keeps 64 KB.
void TameGrpc() { setenv("GRPC_EXPERIMENTS", "-tcp_read_chunks", 0); }

// SIGINT and SIGTERM, blocked in every thread and taken by WaitForSignal.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

std::string WaitForSignal(const sigset_t& signals) {
  int number = 0;
  sigwait(&signals, &number);
  return number == SIGINT ? "SIGINT" : "SIGTERM";
}

// A directory that goes with the process.
class TemporaryDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<TemporaryDirectory>> Create() {
    const char* const parent = getenv("TMPDIR");
    std::string path = absl::StrCat(parent != nullptr ? parent : "/tmp", "/tributaryd-XXXXXX");
    if (mkdtemp(path.data()) == nullptr) return FileError(errno, "making", path);
    return std::unique_ptr<TemporaryDirectory>(new TemporaryDirectory(std::move(path)));
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

int Fail(const absl::Status& status, ExitCode code) {
  std::fprintf(stderr, "tributaryd: %s\n", std::string(status.message()).c_str());
  return static_cast<int>(code);
}

absl::Status WritePorts(const std::string& path, const Server& server) {
  if (path.empty()) return absl::OkStatus();
  return WriteFileAtomically(path, absl::StrCat("{\"grpc\":", server.grpc_port(),
                                                ",\"http\":", server.http_port(), "}\n"));
}

int Serve(const ServerConfig& config, const std::string& ports_file, const sigset_t& signals) {
  RealClock clock;
  auto server = Server::Create(config, &clock);
  if (!server.ok()) return Fail(server.status(), ExitCode::kFailed);
  if (const absl::Status written = WritePorts(ports_file, **server); !written.ok()) {
    return Fail(written, ExitCode::kFailed);
  }
  log::Info("listening", {{"grpc", (*server)->grpc_port()},
                          {"http", (*server)->http_port()},
                          {"data_dir", config.data_dir},
                          {"tls", config.tls.has_value()}});
  log::Info("shutting down", {{"signal", WaitForSignal(signals)}});
  (*server)->Shutdown();
  log::Info("ended");
  return static_cast<int>(ExitCode::kDone);
}

absl::StatusOr<ServerConfig> MakeConfig(const Flags& flags, const std::string& dev_dir) {
  if (flags.dev) return DevConfig(dev_dir);
  TRIB_ASSIGN_OR_RETURN(ServerConfig config, ReadServerConfig(flags.config));
  if (!flags.data_dir.empty()) config.data_dir = flags.data_dir;
  return config;
}

int Run(const Flags& flags) {
  if (flags.dev == !flags.config.empty()) {
    return Fail(absl::InvalidArgumentError("give --config FILE or --dev, one of the two; "
                                           "tributaryd --help shows an example"),
                ExitCode::kUsage);
  }
  const sigset_t signals = BlockSignals();
  std::unique_ptr<TemporaryDirectory> temporary;
  std::string dev_dir = flags.data_dir;
  if (flags.dev && dev_dir.empty() && !flags.check_config) {
    auto made = TemporaryDirectory::Create();
    if (!made.ok()) return Fail(made.status(), ExitCode::kFailed);
    temporary = *std::move(made);
    dev_dir = temporary->path();
  }
  const auto config = MakeConfig(flags, dev_dir);
  if (!config.ok()) return Fail(config.status(), ExitCode::kRefused);
  if (const absl::Status named = log::ConfigureFromNames(config->log.level, config->log.format);
      !named.ok()) {
    return Fail(named, ExitCode::kRefused);
  }
  if (const absl::Status files = Server::CheckFiles(*config); !files.ok()) {
    return Fail(files, ExitCode::kRefused);
  }
  if (flags.check_config) {
    std::printf("%s\n", config::Print(*config).dump(2).c_str());
    return static_cast<int>(ExitCode::kDone);
  }
  return Serve(*config, flags.ports_file, signals);
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) {
  tributary::TameMalloc();
  tributary::TameGrpc();
  tributary::Flags flags;
  CLI::App app("The Tributary coordinator: gives work to clients and combines what they return.");
  app.footer(tributary::kFooter);
  app.set_version_flag("--version", absl::StrCat("tributaryd ", tributary::kVersion));
  app.add_option("--config", flags.config, "YAML file, see docs/operations.md");
  app.add_flag("--dev", flags.dev,
               "try it out: loopback only, any free port, no TLS, data thrown away at the end");
  app.add_option("--data-dir", flags.data_dir, "keep the data here instead");
  app.add_option("--ports-file", flags.ports_file,
                 "write {\"grpc\":N,\"http\":N} to this file once it is listening");
  app.add_flag("--check-config", flags.check_config,
               "check the configuration, print it with every default, and end");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(tributary::cli::ExitCode::kUsage);
  }
  return tributary::Run(flags);
}
