// How long a round takes, and how much memory tributaryd, when clients do nothing but transfer:
// a real tributaryd in one process, clients that answer at once in another, raw float32.
// Beside it, in the same run: what gRPC alone moves with as many clients, and how long a new file
// as large as the model takes to become durable, which the tail between two rounds cannot do
// without.
//
//   round_bench                                              10 clients, 10 million parameters
//   round_bench --clients 50 --parameters 4000000 --json
//   round_bench --parameters 800000000 --tensors 437 --clients 6 --rounds 1      3.2 GB
//
// The first client to come makes version 0. A round goes from the first order for a version to
// the first one for the next.

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <map>
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
#include "common/durable_file.h"
#include "common/malloc_tuning.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"
#include "tests/bench/bare_stream.h"
#include "tests/bench/bench_daemon.h"
#include "tests/testing/params.h"

namespace tributary::bench {
namespace {

struct Flags {
  int64_t parameters = 10'000'000;
  int64_t tensors = 10;
  int clients = 10;
  int rounds = 3;
  bool tls = false;
  bool no_bare = false;
  bool json = false;
};

// When things happened, told by the clients.
class Timeline {
 public:
  void Ordered(Version version) {
    MutexLock lock(mu_);
    ordered_.try_emplace(version, clock_.Now());
    changed_.NotifyAll();
  }
  void LastChunkSent(Version version) {
    MutexLock lock(mu_);
    last_chunk_[version] = clock_.Now();
  }
  void Fail(const std::string& why) {
    MutexLock lock(mu_);
    if (failure_.ok()) failure_ = absl::InternalError(why);
    changed_.NotifyAll();
  }
  absl::Status AwaitOrderFor(Version version) {
    MutexLock lock(mu_);
    while (failure_.ok() && !ordered_.contains(version)) changed_.Wait(mu_);
    return failure_;
  }
  std::vector<double> RoundSeconds(int rounds) const {
    MutexLock lock(mu_);
    std::vector<double> seconds;
    for (Version v = 0; v < rounds; ++v) {
      seconds.push_back(absl::ToDoubleSeconds(ordered_.at(v + 1) - ordered_.at(v)));
    }
    return seconds;
  }
  // From the last chunk that a client began to send to the next version's first order.
  std::vector<double> TailSeconds(int rounds) const {
    MutexLock lock(mu_);
    std::vector<double> seconds;
    for (Version v = 0; v < rounds; ++v) {
      seconds.push_back(absl::ToDoubleSeconds(ordered_.at(v + 1) - last_chunk_.at(v)));
    }
    return seconds;
  }

 private:
  RealClock clock_;
  mutable Mutex mu_;
  CondVar changed_;
  std::map<Version, absl::Time> ordered_ ABSL_GUARDED_BY(mu_);
  std::map<Version, absl::Time> last_chunk_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

class NullSink final : public sdk::ModelSink {
 public:
  absl::Status OnHeader(const sdk::ModelHeader&, bool) override { return absl::OkStatus(); }
  absl::Status OnChunk(const sdk::Chunk&) override { return absl::OkStatus(); }
};

// One client: answers every order at once until `stop`.
class InstantClient {
 public:
  InstantClient(std::unique_ptr<sdk::GrpcConnection> connection, LayoutPtr layout,
                std::shared_ptr<const ParamVector> delta, Timeline* timeline)
      : connection_(std::move(connection)),
        layout_(std::move(layout)),
        delta_(std::move(delta)),
        timeline_(timeline) {}

  void Run(std::stop_token stop) {
    sdk::Retry enrolling({.give_up_after = absl::Minutes(1)}, &clock_, Rng(1), stop);
    absl::StatusOr<sdk::ServerLimits> limits = connection_->Enroll(stop);
    while (!limits.ok() && enrolling.AfterFailure(limits.status()).ok()) {
      limits = connection_->Enroll(stop);
    }
    absl::Status status = limits.status();
    if (limits.ok()) max_chunk_bytes_ = limits->max_chunk_bytes;
    while (status.ok() && !stop.stop_requested()) {
      const auto answer = connection_->CheckIn(absl::Seconds(30), 0, stop);
      status = answer.status();
      if (!status.ok()) break;
      if (const auto* work = std::get_if<sdk::WorkOrder>(&*answer)) status = Do(*work, stop);
    }
    if (!stop.stop_requested()) timeline_->Fail(status.ToString());
  }

 private:
  absl::Status Do(const sdk::WorkOrder& work, std::stop_token stop) {
    const bool first = work.kind == sdk::WorkKind::kInitialise;
    if (!first) {
      timeline_->Ordered(work.version);
      NullSink sink;
      TRIB_RETURN_IF_ERROR(
          connection_->FetchModel({.job = work.job.id, .version = work.version}, sink, stop));
    }
    sdk::UpdateHeader header{.job = work.job.id,
                             .info = {.work_order = work.id,
                                      .base_version = work.version,
                                      .num_examples = 1,
                                      .local_steps = 1},
                             .layout_digest = layout_->digest()};
    if (first) header.initial_layout = layout_;
    sdk::Retry retry({}, &clock_, Rng(static_cast<uint64_t>(work.id)), stop);
    const sdk::TransferOptions options{.max_chunk_bytes = max_chunk_bytes_,
                                       .stop = stop,
                                       .owner = delta_,
                                       .progress = [&](int64_t done, int64_t total) {
                                         if (!first && done < total)
                                           timeline_->LastChunkSent(work.version);
                                       }};
    const absl::string_view payload(reinterpret_cast<const char*>(delta_->values().data()),
                                    delta_->values().size() * sizeof(float));
    TRIB_ASSIGN_OR_RETURN(const sdk::UploadAnswer answer,
                          sdk::Upload(*connection_, header, payload, options, retry));
    if (answer.state == sdk::UploadAnswer::State::kAccepted) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("upload: ", answer.message));
  }

  RealClock clock_;
  const std::unique_ptr<sdk::GrpcConnection> connection_;
  const LayoutPtr layout_;
  const std::shared_ptr<const ParamVector> delta_;  // the payload, as raw float32
  Timeline* const timeline_;
  int64_t max_chunk_bytes_ = 0;
};

LayoutPtr MakeLayout(const Flags& flags) {
  std::vector<ParamLayout::Tensor> tensors;
  for (int64_t i = 0; i < flags.tensors; ++i) {
    const int64_t size =
        flags.parameters / flags.tensors + (i == 0 ? flags.parameters % flags.tensors : 0);
    tensors.push_back({.name = absl::StrCat("layer", i), .shape = {size}});
  }
  return test::MakeLayout(std::move(tensors));
}

absl::StatusOr<double> SecondsToWrite(const ParamVector& model) {
  const test::TempDir dir;
  const RealClock clock;
  const absl::Time start = clock.Now();
  TRIB_ASSIGN_OR_RETURN(File file, File::Open(dir.File("model"), O_WRONLY | O_CREAT | O_TRUNC));
  TRIB_RETURN_IF_ERROR(file.Append({reinterpret_cast<const char*>(model.values().data()),
                                    model.values().size() * sizeof(float)}));
  TRIB_RETURN_IF_ERROR(file.Sync());
  return absl::ToDoubleSeconds(clock.Now() - start);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string JobFile(const Flags& flags) {
  return absl::StrCat(
      "job: {name: bench, model: {custom: none}, train: {local_steps: 1}, scheduler: {sync_round: "
      "{clients_per_round: ",
      flags.clients, ", deadline_seconds: 36000}}, keep_versions: 2, liveness_seconds: 3600, ",
      "stop: {versions: ", flags.rounds + 1, "}}\n");
}

absl::StatusOr<nlohmann::json> Measure(const Flags& flags) {
  const test::TempDir dir;
  std::optional<test::Certificates> tls;
  TlsFiles bare_tls;
  if (flags.tls) {
    TRIB_ASSIGN_OR_RETURN(tls, CreateCertificates(dir.path(), flags.clients));
    bare_tls = {.ca = tls->ca(),
                .certificate = tls->CertificateOf(kServerName),
                .key = tls->KeyOf(kServerName)};
  }
  const double model = 4.0 * static_cast<double>(flags.parameters);
  TRIB_ASSIGN_OR_RETURN(const auto bare, BareServer::Start(bare_tls));
  const auto measure_bare = [&]() -> absl::StatusOr<double> {
    if (flags.no_bare) return 0.0;
    return bare->Measure(flags.clients, 8 * flags.parameters);
  };
  TRIB_ASSIGN_OR_RETURN(const double bare_before, measure_bare());

  TRIB_ASSIGN_OR_RETURN(const auto daemon, BenchDaemon::Start(tls ? &*tls : nullptr));
  const int64_t idle_rss = daemon->rss_bytes();
  TRIB_RETURN_IF_ERROR(daemon->Submit(JobFile(flags)).status());
  const LayoutPtr layout = MakeLayout(flags);
  const auto delta = std::make_shared<const ParamVector>(test::RandomParams(layout, 1, 0.01F));
  Timeline timeline;
  std::stop_source stop;
  std::vector<std::thread> threads;
  std::vector<std::unique_ptr<InstantClient>> clients;
  for (int i = 0; i < flags.clients; ++i) {
    TRIB_ASSIGN_OR_RETURN(auto connection, sdk::GrpcConnection::Create(daemon->OptionsOf(i)));
    clients.push_back(
        std::make_unique<InstantClient>(std::move(connection), layout, delta, &timeline));
  }
  for (const auto& client : clients) {
    threads.emplace_back([&client, &stop] { client->Run(stop.get_token()); });
  }
  const absl::Status ran = timeline.AwaitOrderFor(flags.rounds);
  const int64_t peak = daemon->peak_rss_bytes();
  const int64_t of_files = daemon->file_bytes();
  const absl::Duration cpu = daemon->cpu();
  stop.request_stop();
  for (std::thread& thread : threads) thread.join();
  TRIB_RETURN_IF_ERROR(ran);
  TRIB_RETURN_IF_ERROR(daemon->Stop());
  TRIB_ASSIGN_OR_RETURN(const double write_seconds, SecondsToWrite(*delta));
  TRIB_ASSIGN_OR_RETURN(const double bare_after, measure_bare());

  const std::vector<double> rounds = timeline.RoundSeconds(flags.rounds);
  const double rate = 2 * model * flags.clients / Median(rounds);
  const double bare_rate = (bare_before + bare_after) / 2;
  return nlohmann::json{{"parameters", flags.parameters},
                        {"tensors", flags.tensors},
                        {"clients", flags.clients},
                        {"tls", flags.tls},
                        {"model_bytes", model},
                        {"idle_rss_bytes", idle_rss},
                        {"peak_rss_bytes", peak},
                        {"peak_rss_models", static_cast<double>(peak) / model},
                        {"peak_own_models", static_cast<double>(peak - of_files) / model},
                        {"round_seconds", rounds},
                        {"round_seconds_median", Median(rounds)},
                        {"tail_seconds", timeline.TailSeconds(flags.rounds)},
                        {"write_seconds", write_seconds},
                        {"daemon_cpu_seconds", absl::ToDoubleSeconds(cpu)},
                        {"payload_bytes_per_second", rate},
                        {"bare_bytes_per_second", bare_rate},
                        {"of_bare", bare_rate > 0 ? rate / bare_rate : 0}};
}

void PrintTable(const nlohmann::json& r) {
  std::cout << absl::StrFormat("%-28s %9s %9s %9s %8s %9s %8s %8s %8s\n", "round", "time",
                               "payload", "bare", "of bare", "peak RSS", "models", "tail", "write");
  std::cout << absl::StrFormat(
      "%3d x %9d %-12s %7.2f s %6.0f MB/s %4.0f MB/s %7.2f %6.0f MB %7.2f %6.2f s %6.2f s\n",
      r["clients"].get<int>(), r["parameters"].get<int64_t>(), r["tls"].get<bool>() ? "TLS" : "",
      r["round_seconds_median"].get<double>(), r["payload_bytes_per_second"].get<double>() / 1e6,
      r["bare_bytes_per_second"].get<double>() / 1e6, r["of_bare"].get<double>(),
      r["peak_rss_bytes"].get<double>() / 1e6, r["peak_rss_models"].get<double>(),
      Median(r["tail_seconds"]), r["write_seconds"].get<double>());
}

}  // namespace
}  // namespace tributary::bench

int main(int argc, char** argv) {
  tributary::TuneMalloc(32 << 20);  // as tributary-client
  tributary::bench::Flags flags;
  tributary::bench::TlsFiles bare_tls;
  bool serve_bare = false;
  CLI::App app{"Time and memory of a round with clients that answer at once"};
  app.add_option("--parameters", flags.parameters, "float32 values in the model")
      ->capture_default_str();
  app.add_option("--tensors", flags.tensors, "that hold them")->capture_default_str();
  app.add_option("--clients", flags.clients, "all in every round")->capture_default_str();
  app.add_option("--rounds", flags.rounds, "the figure is their median")->capture_default_str();
  app.add_flag("--tls", flags.tls, "certificates on both ends");
  app.add_flag("--no-bare", flags.no_bare, "leave out the bare stream");
  app.add_flag("--json", flags.json, "print JSON");
  app.add_flag("--serve-bare", serve_bare, "be the bare stream's server")->group("");
  app.add_option("--ca", bare_tls.ca)->group("");
  app.add_option("--cert", bare_tls.certificate)->group("");
  app.add_option("--key", bare_tls.key)->group("");
  CLI11_PARSE(app, argc, argv);
  if (serve_bare) return tributary::bench::ServeBare(bare_tls);
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
