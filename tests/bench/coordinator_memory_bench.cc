// How much memory tributaryd takes, and how long a round is, when clients do nothing but
// transfer. Starts a real tributaryd, and clients that answer at once with the same payload.
//
//   coordinator_memory_bench                                    10 million parameters, 20 clients
//   coordinator_memory_bench --parameters 600000000 --clients 2 --rounds 1    an update of 2.4 GB
//
// The first clients to come make round 0, the first model; it counts as a round of one.

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client_sdk/internal/grpc_connection.h"
#include "client_sdk/internal/retry.h"
#include "client_sdk/internal/uploader.h"
#include "common/clock.h"
#include "common/digest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

struct Flags {
  int64_t parameters = 10'000'000;
  int clients = 20;
  int rounds = 3;
  bool json = false;
};

class NullSink final : public sdk::ModelSink {
 public:
  absl::Status OnHeader(const sdk::ModelHeader&, bool) override { return absl::OkStatus(); }
  absl::Status OnChunk(const sdk::Chunk& chunk) override {
    bytes += static_cast<int64_t>(chunk.data.size());
    return absl::OkStatus();
  }
  int64_t bytes = 0;
};

// One client: answers every order at once until `stop`.
class InstantClient {
 public:
  InstantClient(const std::string& server, int index, const LayoutPtr& layout,
                const std::string& payload)
      : layout_(layout), payload_(payload) {
    ClientOptions options;
    options.server = server;
    options.id = ClientId(absl::StrCat("client-", index));
    connection_ = *sdk::GrpcConnection::Create(options);
  }

  void Run(std::stop_token stop) {
    if (!connection_->Enroll(stop).ok()) std::abort();
    while (!stop.stop_requested()) {
      auto answer = connection_->CheckIn(absl::Seconds(30), stop);
      if (!answer.ok()) continue;
      if (const auto* work = std::get_if<sdk::WorkOrder>(&*answer)) Do(*work, stop);
    }
  }

 private:
  void Do(const sdk::WorkOrder& work, std::stop_token stop) {
    const bool first = work.kind == sdk::WorkKind::kInitialise;
    if (!first) {
      NullSink sink;
      if (!connection_->FetchModel({.job = work.job.id, .version = work.version}, sink, stop).ok())
        return;
    }
    sdk::UpdateHeader header{.job = work.job.id,
                             .info = {.work_order = work.id,
                                      .base_version = work.version,
                                      .num_examples = 1,
                                      .local_steps = 1},
                             .layout_digest = layout_->digest()};
    if (first) header.initial_layout = layout_;
    sdk::Retry retry({}, &clock_, Rng(static_cast<uint64_t>(work.id)), stop);
    const auto answer = sdk::Upload(*connection_, header, payload_, {.stop = stop}, retry);
    if (!stop.stop_requested() &&
        (!answer.ok() || answer->state != sdk::UploadAnswer::State::kAccepted)) {
      std::cerr << "upload: " << (answer.ok() ? answer->message : answer.status().ToString())
                << "\n";
      std::exit(1);
    }
  }

  RealClock clock_;
  const LayoutPtr layout_;
  const std::string& payload_;
  std::unique_ptr<sdk::GrpcConnection> connection_;
};

int64_t PeakRssBytes(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  for (std::string key; status >> key;) {
    int64_t kib = 0;
    if (key == "VmHWM:" && status >> kib) return kib * 1024;
  }
  return 0;
}

// Several tensors, as models have them.
LayoutPtr MakeLayout(int64_t parameters) {
  std::vector<ParamLayout::Tensor> tensors;
  for (int i = 0; i < 10; ++i) {
    const int64_t size = parameters / 10 + (i == 0 ? parameters % 10 : 0);
    tensors.push_back({.name = absl::StrCat("layer", i), .shape = {size}});
  }
  return test::MakeLayout(std::move(tensors));
}

int Run(const Flags& flags) {
  const test::TempDir dir;
  const std::string ports_file = dir.File("ports.json");
  auto daemon = test::Subprocess::Start({test::BinaryPath("tributaryd"), "--dev", "--data-dir",
                                         dir.File("data"), "--ports-file", ports_file});
  if (!daemon.ok() || !(*daemon)->WaitForLine("listening", absl::Seconds(30)).ok()) return 1;
  std::ifstream ports(ports_file);
  const std::string server =
      absl::StrCat("127.0.0.1:", nlohmann::json::parse(ports).at("grpc").get<int>());
  const int64_t idle_rss = PeakRssBytes((*daemon)->pid());

  const std::string job_file = dir.Write(
      "job.yaml",
      absl::StrCat(
          "job: {name: bench, model: {custom: none}, train: {local_steps: 1}, scheduler: "
          "{sync_round: "
          "{clients_per_round: ",
          flags.clients,
          ", deadline_seconds: 3600}}, keep_versions: 2, liveness_seconds: 600, stop: {versions: ",
          flags.rounds, "}}\n"));
  const auto submitted = test::RunToEnd(
      {test::BinaryPath("tributary"), "--server", server, "job", "submit", job_file});
  const std::string job = submitted.out.substr(0, submitted.out.find('\n'));

  const LayoutPtr layout = MakeLayout(flags.parameters);
  const std::string payload(static_cast<size_t>(4 * flags.parameters), '\0');
  RealClock clock;
  std::stop_source stop;
  std::vector<std::unique_ptr<InstantClient>> clients;
  std::vector<std::thread> threads;
  const absl::Time start = clock.Now();
  for (int i = 0; i < flags.clients; ++i) {
    clients.push_back(std::make_unique<InstantClient>(server, i, layout, payload));
    threads.emplace_back([&, i] { clients[static_cast<size_t>(i)]->Run(stop.get_token()); });
  }
  const auto watched = test::RunToEnd(
      {test::BinaryPath("tributary"), "--server", server, "job", "watch", job}, {}, absl::Hours(1));
  const double seconds = absl::ToDoubleSeconds(clock.Now() - start);
  stop.request_stop();
  for (std::thread& thread : threads) thread.join();
  const int64_t peak = PeakRssBytes((*daemon)->pid());
  (*daemon)->Signal(SIGTERM);
  const auto ended = (*daemon)->Wait(absl::Minutes(1));

  const double model = 4.0 * static_cast<double>(flags.parameters);
  const double moved = model * flags.clients * flags.rounds;
  const nlohmann::json result = {{"parameters", flags.parameters},
                                 {"clients", flags.clients},
                                 {"rounds", flags.rounds},
                                 {"model_bytes", model},
                                 {"idle_rss_bytes", idle_rss},
                                 {"peak_rss_bytes", peak},
                                 {"peak_rss_models", static_cast<double>(peak) / model},
                                 {"seconds", seconds},
                                 {"uplink_bytes_per_second", moved / seconds},
                                 {"job_ended_well", watched.exit.code == 0},
                                 {"daemon_ended_well", ended.ok() && ended->code == 0}};
  if (flags.json) {
    std::cout << result.dump(2) << "\n";
  } else {
    std::cout << absl::StrFormat(
        "%12s %8s %7s %10s %10s %10s %9s %10s\n%12d %8d %7d %7.1f MB %7.1f MB %7.2f x %7.1f s "
        "%5.0f MB/s\n",
        "parameters", "clients", "rounds", "model", "peak RSS", "of model", "time", "uplink",
        flags.parameters, flags.clients, flags.rounds, model / 1e6, static_cast<double>(peak) / 1e6,
        static_cast<double>(peak) / model, seconds, moved / seconds / 1e6);
  }
  return watched.exit.code;
}

}  // namespace
}  // namespace tributary

int main(int argc, char** argv) {
  tributary::Flags flags;
  CLI::App app{"Memory and time of tributaryd with clients that answer at once"};
  app.add_option("--parameters", flags.parameters, "float32 values in the model")
      ->capture_default_str();
  app.add_option("--clients", flags.clients, "all in every round")->capture_default_str();
  app.add_option("--rounds", flags.rounds, "versions after the first")->capture_default_str();
  app.add_flag("--json", flags.json, "print JSON");
  CLI11_PARSE(app, argc, argv);
  return tributary::Run(flags);
}
