#include "client_sdk/app/flags.h"

#include <unistd.h>

#include <optional>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kRefused = 3;
constexpr int kUnreachable = 4;
constexpr int kNotAllowed = 5;
constexpr int kInterrupted = 130;

constexpr absl::Duration kOnceConnectLimit = absl::Minutes(1);

constexpr char kExamples[] = R"(Examples:
  # one of five clients of a coordinator on this machine
  tributary-client --server 127.0.0.1:7433 --data fashion_mnist \
      --partition dirichlet:alpha=0.3,clients=5,index=2,seed=1
  # the held-out test set as a client that only evaluates
  tributary-client --server 127.0.0.1:7433 --data fashion_mnist --evaluate-only
  # a table of one's own, over mutual TLS
  tributary-client --server fl.example:7433 --id clinic-3 \
      --data '{dataset: csv, path: patients.csv, label: outcome, test_fraction: 0.2}' \
      --ca ca.pem --cert clinic-3.pem --key clinic-3.key
  # what a language model says; tributary-client generate --help
  tributary-client generate --model tiny-gpt2 --prompt 'Once upon a time'
  # what a job trained, for other tools; tributary-client export --help
  tributary-client export --model out/model.safetensors --program model.pt \
      --as torchscript --out trained.pt

Exit codes: 0 done, 1 failed, 2 usage, 3 options or data refused, 4 server unreachable,
5 not authenticated or not allowed, 130 interrupted.)";

CLI::Validator AboveZero() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value > 0) return "";
        return absl::StrCat("must be a number above 0, found '", text, "'");
      },
      "");
}

}  // namespace

std::string DefaultClientId() {
  char host[65] = "";
  gethostname(host, sizeof(host) - 1);
  std::string id = absl::StrCat(host[0] == '\0' ? "client" : host, "-", getpid());
  for (char& c : id) {
    if (!IsValidId(absl::StrCat("x", std::string(1, c)))) c = '-';
  }
  return IsValidId(id) ? id : absl::StrCat("client-", getpid());
}

std::variant<ClientFlags, int> ParseFlags(int argc, char** argv) {
  ClientFlags flags;
  std::string id = DefaultClientId();
  std::optional<double> connect_timeout, exit_when_no_work, throttle;
  CLI::App app("Trains models on local data for a Tributary coordinator.", "tributary-client");
  app.footer(kExamples);
  app.set_version_flag("--version", "tributary-client " TRIBUTARY_VERSION);
  app.add_option("--server", flags.options.server, "coordinator, host:port")->required();
  CLI::Option* const own_id =
      app.add_option("--id", id, "name of this client, stable across restarts")
          ->capture_default_str();
  app.add_option("--data", flags.data, "a dataset's name, or {dataset: NAME, key: value, ...}")
      ->required();
  app.add_option("--partition", flags.partition,
                 "one client's part of the data: NAME:key=value,clients=N,index=I,seed=S");
  app.add_flag("--evaluate-only", flags.options.evaluate_only,
               "evaluate on the held-out part of the data, never train");
  app.add_flag("--once", flags.once, "end after one work order of training (or evaluation)");
  app.add_option(
         "--throttle", throttle,
         "train slowly: at least so many seconds per optimizer step, as 0.02; for tests and "
         "demonstrations with clients of different speeds")
      ->check(AboveZero());
  app.add_option("--exit-when-no-work", exit_when_no_work, "end after so many seconds without work")
      ->check(AboveZero());
  app.add_option("--connect-timeout", connect_timeout,
                 "seconds to try to reach the server (default: for ever; with --once 60)")
      ->check(AboveZero());
  app.add_option("--ca", flags.options.ca_file, "PEM of the server's authority: turns TLS on");
  app.add_option("--cert", flags.options.cert_file, "PEM of this client's certificate");
  app.add_option("--key", flags.options.key_file, "PEM of this client's private key");
  app.add_flag("--allow-insecure", flags.options.allow_insecure,
               "speak without TLS to a server that is not on this machine");
  app.add_flag(
      "--allow-programs", flags.options.allow_programs,
      "run the TorchScript programs that jobs bring as their models: code from whoever may "
      "submit jobs to the server");
  app.add_option(
         "--state-dir", flags.options.state_dir,
         "folder of this client's own for models, updates on their way and what codecs left "
         "out of them, across restarts")
      ->needs(own_id);
  app.add_option("--lora-rank", flags.options.adapter_rank,
                 "largest rank of an adapter that this client trains, in jobs with several "
                 "(default: as the server finds)")
      ->check(CLI::PositiveNumber);
  app.add_option("--memory", flags.options.memory_bytes,
                 "memory that training may take, as 2GB, by which such a job may choose the rank")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false));
  app.add_option("--log-level", flags.log_level, "debug, info, warning, error or off")
      ->capture_default_str();
  app.add_option("--log-format", flags.log_format, "text or json")->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  flags.options.id = ClientId(id);
  flags.options.user_agent = "tributary-client/" TRIBUTARY_VERSION;
  if (connect_timeout) {
    flags.options.connect_limit = absl::Seconds(*connect_timeout);
  } else if (flags.once) {
    flags.options.connect_limit = kOnceConnectLimit;
  }
  if (throttle) flags.throttle = absl::Seconds(*throttle);
  if (exit_when_no_work) {
    flags.options.idle_limit = absl::Seconds(*exit_when_no_work);
    flags.options.once_limit = flags.options.idle_limit;
  }
  return flags;
}

int ExitCode(const absl::Status& ended, bool interrupted) {
  if (interrupted) return kInterrupted;
  switch (ended.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kUnavailable:
      return kUnreachable;
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return kNotAllowed;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
      return kRefused;
    default:
      return kFailed;
  }
}

}  // namespace tributary
