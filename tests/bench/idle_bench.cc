// What clients cost tributaryd while they have nothing to do: memory and CPU of each one that waits
// in a held check-in, and CPU of a check-in that is answered at once.
//
//   idle_bench                     1,000 clients
//   idle_bench --clients 100 --tls

#include <sys/resource.h>

#include <atomic>
#include <iostream>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client_sdk/internal/grpc_connection.h"
#include "client_sdk/internal/retry.h"
#include "common/clock.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bench_daemon.h"

namespace tributary::bench {
namespace {

struct Flags {
  int clients = 1000;
  int check_ins = 20;
  int seconds = 10;
  bool tls = false;
  bool json = false;
};

// A connection and its thread for each client; one `step` of all of them at a time.
template <typename Step>
absl::Status OnAll(const std::vector<std::unique_ptr<sdk::GrpcConnection>>& connections,
                   const Step& step) {
  std::atomic<int> failed = 0;
  std::vector<std::thread> threads;
  for (const auto& connection : connections) {
    threads.emplace_back([&] { failed += step(*connection).ok() ? 0 : 1; });
  }
  for (std::thread& thread : threads) thread.join();
  if (failed == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(failed.load(), " calls failed"));
}

absl::StatusOr<nlohmann::json> Measure(const Flags& flags) {
  const test::TempDir dir;
  std::optional<test::Certificates> tls;
  if (flags.tls) {
    TRIB_ASSIGN_OR_RETURN(tls, CreateCertificates(dir.path(), flags.clients));
  }
  TRIB_ASSIGN_OR_RETURN(const auto daemon, BenchDaemon::Start(tls ? &*tls : nullptr));
  std::vector<std::unique_ptr<sdk::GrpcConnection>> connections;
  for (int i = 0; i < flags.clients; ++i) {
    TRIB_ASSIGN_OR_RETURN(auto connection, sdk::GrpcConnection::Create(daemon->OptionsOf(i)));
    connections.push_back(std::move(connection));
  }
  const int64_t before = daemon->rss_bytes();
  RealClock clock;
  const auto enroll = [&](sdk::GrpcConnection& c) {
    sdk::Retry retry({.give_up_after = absl::Minutes(1)}, &clock, Rng(1), {});
    absl::Status status = c.Enroll({}).status();
    while (!status.ok() && retry.AfterFailure(status).ok()) status = c.Enroll({}).status();
    return status;
  };
  TRIB_RETURN_IF_ERROR(OnAll(connections, enroll));

  const absl::Duration cpu_at_first = daemon->cpu();
  const auto check_in_often = [&](sdk::GrpcConnection& c) {
    absl::Status all;
    for (int i = 0; i < flags.check_ins; ++i) {
      all.Update(c.CheckIn(absl::ZeroDuration(), 0, {}).status());
    }
    return all;
  };
  TRIB_RETURN_IF_ERROR(OnAll(connections, check_in_often));
  const absl::Duration cpu_of_check_ins = daemon->cpu() - cpu_at_first;

  std::stop_source stop;
  std::thread waiting([&] {
    OnAll(connections, [&](sdk::GrpcConnection& c) {
      return c.CheckIn(absl::Minutes(1), 0, stop.get_token()).status();
    }).IgnoreError();  // they are cancelled
  });
  clock.SleepFor(absl::Seconds(3), {});
  const int64_t idle = daemon->rss_bytes();
  const absl::Duration cpu_before = daemon->cpu();
  clock.SleepFor(absl::Seconds(flags.seconds), {});
  const absl::Duration cpu_of_waiting = daemon->cpu() - cpu_before;
  stop.request_stop();
  waiting.join();
  TRIB_RETURN_IF_ERROR(daemon->Stop());

  return nlohmann::json{
      {"clients", flags.clients},
      {"tls", flags.tls},
      {"rss_bytes_before", before},
      {"rss_bytes_idle", idle},
      {"rss_bytes_per_client", (idle - before) / flags.clients},
      {"idle_cpu_share", absl::FDivDuration(cpu_of_waiting, absl::Seconds(flags.seconds))},
      {"check_ins", flags.clients * flags.check_ins},
      {"cpu_seconds_per_check_in",
       absl::ToDoubleSeconds(cpu_of_check_ins) / flags.clients / flags.check_ins}};
}

void PrintTable(const nlohmann::json& r) {
  std::cout << absl::StrFormat(
      "%d idle clients%s: %.0f KB each, %.2f %% of a core; %.0f µs of CPU for a check-in\n",
      r["clients"].get<int>(), r["tls"].get<bool>() ? " over TLS" : "",
      r["rss_bytes_per_client"].get<double>() / 1e3, 100 * r["idle_cpu_share"].get<double>(),
      1e6 * r["cpu_seconds_per_check_in"].get<double>());
}

// Two descriptors and more for each client.
void RaiseFileLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace
}  // namespace tributary::bench

int main(int argc, char** argv) {
  tributary::bench::Flags flags;
  CLI::App app{"What idle clients cost tributaryd"};
  app.add_option("--clients", flags.clients, "connected at once")->capture_default_str();
  app.add_option("--check-ins", flags.check_ins, "of each client")->capture_default_str();
  app.add_option("--seconds", flags.seconds, "of waiting")->capture_default_str();
  app.add_flag("--tls", flags.tls, "certificates on both ends");
  app.add_flag("--json", flags.json, "print JSON");
  CLI11_PARSE(app, argc, argv);
  tributary::bench::RaiseFileLimit();
  const auto result = tributary::bench::Measure(flags);
  if (!result.ok()) {
    std::cerr << result.status().ToString() << "\n";
    return 1;
  }
  if (flags.json) {
    std::cout << result->dump(2) << "\n";
  } else {
    tributary::bench::PrintTable(*result);
  }
  return 0;
}
