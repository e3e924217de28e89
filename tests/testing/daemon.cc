#include "tests/testing/daemon.h"

#include <csignal>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary::test {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(60);

}  // namespace

std::string TlsSettings(const Certificates& authority, const std::string& client_ca,
                        const std::string& operator_name) {
  return absl::StrCat("tls: {certificate: '", authority.CertificateOf("server"), "', key: '",
                      authority.KeyOf("server"), "', client_ca: '", client_ca, "', operators: [",
                      operator_name, "]}");
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(const std::string& settings) {
  auto daemon = std::unique_ptr<Daemon>(new Daemon());
  daemon->settings_ = settings;
  TRIB_RETURN_IF_ERROR(daemon->Run());
  return daemon;
}

absl::Status Daemon::Run() {
  const std::string config = dir_.Write(
      "tributaryd.yaml", absl::StrCat("listen: '", address(), "'\ndata_dir: '", data_dir(),
                                      "'\nhttp: {listen: '127.0.0.1:0'}\n", settings_, "\n"));
  TRIB_ASSIGN_OR_RETURN(process_,
                        Subprocess::Start({BinaryPath("tributaryd"), "--config", config}));
  TRIB_ASSIGN_OR_RETURN(const auto line,
                        process_->WaitForLine("listening.* grpc=(\\d+)", kPatience));
  if (port_ != 0 || absl::SimpleAtoi(line[1], &port_)) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("tributaryd says that it listens on ", line[1]));
}

absl::Status Daemon::KillAndRestart() {
  process_->Signal(SIGKILL);
  TRIB_ASSIGN_OR_RETURN(const Exit exit, process_->Wait(kPatience));
  if (exit.signal == SIGKILL) return Run();
  return absl::InternalError(absl::StrCat("tributaryd had ended before: ", process_->err()));
}

absl::Status Daemon::Stop() {
  process_->Signal(SIGTERM);
  TRIB_ASSIGN_OR_RETURN(const Exit exit, process_->Wait(kPatience));
  if (exit.code == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("tributaryd: ", process_->err()));
}

std::vector<std::string> Daemon::ToolCommand(std::vector<std::string> args) const {
  args.insert(args.begin(), {BinaryPath("tributary"), "--server", address()});
  return args;
}

nlohmann::json Daemon::Show(std::vector<std::string> args) const {
  args.insert(args.begin(), "--json");
  return nlohmann::json::parse(Tool(args).out, nullptr, /*allow_exceptions=*/false);
}

std::string Daemon::address() const { return absl::StrCat("127.0.0.1:", port_); }

}  // namespace tributary::test
