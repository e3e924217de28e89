// Five hundred transfers over a bad network: models down, updates up, through a proxy that cuts,
// stalls, dribbles, reorders and damages, while the coordinator and some clients are killed.

#include <algorithm>
#include <atomic>
#include <iostream>
#include <latch>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client_sdk/client.h"
#include "client_sdk/internal/grpc_connection.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "common/codec/codec_registry.h"
#include "common/codec/update_payload.h"
#include "common/durable_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/daemon.h"
#include "tests/testing/fault_proxy.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/subprocess.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::Daemon;
using test::Exit;
using test::Fault;
using test::FaultProxy;
using test::FaultProxyCounts;
using test::IsOk;
using test::TempDir;
using ::testing::Gt;

constexpr int kClients = 10;
constexpr int kPerRound = 5;
constexpr int kVersions = 10;
constexpr int kUpdates = kPerRound * kVersions;  // of each job, and as many models
constexpr uint64_t kSeed = 20;
// A break costs what was under way, which is most of a chunk: on a bad network chunks are short.
constexpr int kChunkBytes = 64 << 10;
// What an SDK may have handed over that the server never got: the chunk that it asked for and what
// it reads ahead of that (rpc_server.cc), the client's own chunk and write buffer, the sockets'.
constexpr int64_t kMostUnderWay = 8 * kChunkBytes;

struct TestJob {
  const char* name;
  int64_t values;  // 1 KB to 3 MB
  const char* codec;
};
constexpr TestJob kJobs[] = {{"tiny", 250, "raw"},
                             {"small", 8'000, "fp16"},
                             {"middle", 80'000, "raw"},
                             {"large", 300'000, "fp16"},
                             {"huge", 750'000, "raw"}};

std::string JobFile(const TestJob& job) {
  return absl::StrCat(
      "job:\n  name: ", job.name, "\n  model: {custom: fake}\n", "  train: {local_steps: 1}\n",
      "  scheduler: {sync_round: {clients_per_round: ", kPerRound, "}}\n", "  codec: [", job.codec,
      "]\n  error_feedback: false\n",
      "  liveness_seconds: 300\n  keep_updates: true\n  stop: {versions: ", kVersions, "}\n");
}

Xxh128 ChecksumOf(absl::string_view bytes) {
  Xxh3Stream hash;
  hash.Update(bytes);
  return hash.Value();
}

// What the clients fetched and sent, as they saw it: what belongs to the payload, and what was
// handed over again. (What was under way to a client is lost by a break too; how much that is
// depends on how soon its threads run, so it is told, not judged.) Thread-safe.
class Ledger {
 public:
  struct Entry {
    Version base = 0;
    Digest model_digest;
    std::string xxh128;
  };

  void Trained(const TrainTask& task, const ParamVector& base, const std::string& payload) {
    MutexLock lock(mu_);
    const auto [it, is_new] = entries_[task.job.id.value()].try_emplace(
        task.work_order,
        Entry{task.base_version, base.ComputeDigest(), ChecksumOf(payload).ToHex()});
    EXPECT_TRUE(is_new) << "work order " << it->first << " was trained twice";
    fetched_bytes_ += static_cast<int64_t>(base.values().size() * sizeof(float));
    sent_bytes_ += static_cast<int64_t>(payload.size());
  }
  void Initialised(const ParamVector& model) {
    MutexLock lock(mu_);
    sent_bytes_ += static_cast<int64_t>(model.values().size() * sizeof(float));
  }

  // An upload's next try gave the chunks from `begin` to `end`.
  void HandedOver(const JobId& job, WorkOrderId order, int64_t begin, int64_t end) {
    MutexLock lock(mu_);
    int64_t& furthest = handed_over_[{job.value(), order}];
    EXPECT_GE(begin, furthest - kMostUnderWay) << job.value() << ", work order " << order;
    resent_bytes_ += std::max<int64_t>(furthest - begin, 0);
    furthest = std::max(furthest, end);
  }

  // So much of a model arrived and was asked for again.
  void FetchedInVain(int64_t bytes) {
    MutexLock lock(mu_);
    resent_bytes_ += bytes;
  }

  std::map<WorkOrderId, Entry> of(const std::string& job) {
    MutexLock lock(mu_);
    return entries_[job];
  }
  int64_t payload_bytes() {
    MutexLock lock(mu_);
    return fetched_bytes_ + sent_bytes_;
  }
  int64_t resent_bytes() {
    MutexLock lock(mu_);
    return resent_bytes_;
  }

 private:
  Mutex mu_;
  std::map<std::string, std::map<WorkOrderId, Entry>> entries_ ABSL_GUARDED_BY(mu_);
  std::map<std::pair<std::string, WorkOrderId>, int64_t> handed_over_ ABSL_GUARDED_BY(mu_);
  int64_t fetched_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t sent_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t resent_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

// Passes a model on and counts its bytes.
class CountingSink final : public sdk::ModelSink {
 public:
  explicit CountingSink(sdk::ModelSink& inner) : inner_(inner) {}

  absl::Status OnHeader(const sdk::ModelHeader& header, bool unchanged) override {
    return inner_.OnHeader(header, unchanged);
  }
  absl::Status OnChunk(const sdk::Chunk& chunk) override {
    const absl::Status taken = inner_.OnChunk(chunk);
    if (taken.ok()) bytes_ += static_cast<int64_t>(chunk.data.size());
    return taken;
  }
  int64_t bytes() const { return bytes_; }

 private:
  sdk::ModelSink& inner_;
  int64_t bytes_ = 0;
};

// A client's connection up to its sudden death, which is when it is to send the n-th chunk of its
// long uploads. From then on nothing it says is heard. Transfers must go on where they broke off.
class MortalConnection final : public sdk::Connection {
 public:
  MortalConnection(std::unique_ptr<sdk::Connection> inner, Ledger* ledger, int dies_at_chunk,
                   std::function<void()> on_death)
      : inner_(std::move(inner)),
        ledger_(ledger),
        left_(dies_at_chunk),
        on_death_(std::move(on_death)) {}

  absl::StatusOr<sdk::ServerLimits> Enroll(std::stop_token stop) override {
    return inner_->Enroll(stop);
  }
  absl::StatusOr<sdk::CheckInAnswer> CheckIn(absl::Duration wait, int64_t task,
                                             std::stop_token stop) override {
    return inner_->CheckIn(wait, task, stop);
  }
  absl::Status FetchModel(const sdk::FetchRequest& request, sdk::ModelSink& sink,
                          std::stop_token stop) override {
    int64_t& received = received_[{request.job.value(), request.version}];
    if (request.offset != received) {
      // All of it again: its digest was wrong at the end (a header was damaged), or the work was
      // given up and given out anew.
      EXPECT_EQ(request.offset, 0) << request.job.value() << ", version " << request.version
                                   << ", where " << received << " bytes had arrived";
      ledger_->FetchedInVain(received);
      received = 0;
    }
    CountingSink counting(sink);
    const absl::Status status = inner_->FetchModel(request, counting, stop);
    received += counting.bytes();
    return status;
  }
  absl::Status FetchProgram(const sdk::ProgramRequest& request, const sdk::TakeChunk& take,
                            std::stop_token stop) override {
    return inner_->FetchProgram(request, take, stop);
  }
  absl::StatusOr<sdk::UploadAnswer> UploadUpdate(const sdk::UpdateHeader& header,
                                                 const sdk::ChunkSource& chunks,
                                                 std::stop_token stop) override {
    const bool is_long = header.total_bytes > (1 << 20) && header.initial_layout == nullptr;
    std::optional<int64_t> begin;
    int64_t end = 0;
    auto answer = inner_->UploadUpdate(
        header,
        [&] {
          if (is_long && --left_ == 0) {
            dead_ = true;
            on_death_();
          }
          const std::optional<sdk::Chunk> chunk = chunks();
          if (chunk) {
            if (!begin) begin = chunk->offset;
            end = chunk->offset + static_cast<int64_t>(chunk->data.size());
          }
          return chunk;
        },
        stop);
    if (begin) ledger_->HandedOver(header.job, header.info.work_order, *begin, end);
    return answer;
  }
  absl::StatusOr<sdk::EvaluationAnswer> ReportEvaluation(const sdk::EvaluationReport& report,
                                                         std::stop_token stop) override {
    return inner_->ReportEvaluation(report, stop);
  }
  absl::StatusOr<bool> ReportProgress(const sdk::ProgressReport& report,
                                      std::stop_token stop) override {
    return inner_->ReportProgress(report, stop);
  }
  absl::Status AbandonWork(const sdk::AbandonNotice& notice) override {
    return dead_ ? absl::OkStatus() : inner_->AbandonWork(notice);
  }

 private:
  const std::unique_ptr<sdk::Connection> inner_;
  Ledger* const ledger_;
  std::map<std::pair<std::string, Version>, int64_t> received_;  // of models; the session's thread
  int left_;
  const std::function<void()> on_death_;
  std::atomic<bool> dead_ = false;
};

class ProxyTest : public ::testing::Test {
 protected:
  // Lives until the test is over, and is born again whenever it dies.
  void RunClient(int number) {
    const std::string id = absl::StrCat("client-", number);
    const TempDir state;
    for (int life = 0; !over_; ++life) {
      ClientOptions options;
      options.server = absl::StrCat("127.0.0.1:", proxy_->port());
      options.id = ClientId(id);
      options.state_dir = state.path();
      options.max_wait = absl::Seconds(3);  // what hangs is noticed soon
      options.call_timeout = absl::Seconds(5);
      options.retry = {.first_delay = absl::Milliseconds(20), .max_delay = absl::Milliseconds(200)};
      options.on_event = [&id](const ClientEvent& event) {
        const bool gave_up =
            event.kind == ClientEvent::Kind::kFailed && event.message != "CANCELLED: stopped";
        EXPECT_FALSE(gave_up) << id << ", " << event.job.value() << ": " << event.message;
      };
      auto inner = sdk::GrpcConnection::Create(options);
      ASSERT_THAT(inner, IsOk());
      auto connection = std::make_unique<MortalConnection>(
          *std::move(inner), &ledger_, number % 2 == 0 && life < 2 ? 20 : 0, [this, number] {
            ++deaths_;
            StopClient(number);
          });
      auto client =
          Client::Create(std::move(options), MakeTrainer(), std::move(connection), &clock_);
      ASSERT_THAT(client, IsOk());
      {
        MutexLock lock(mu_);
        running_[number] = client->get();
      }
      if (over_) StopClient(number);
      EXPECT_THAT((*client)->Run(), IsOk());
      MutexLock lock(mu_);
      running_.erase(number);
    }
  }

  void StopClient(int number) {
    MutexLock lock(mu_);
    if (running_.contains(number)) running_[number]->Stop();
  }

  std::unique_ptr<Trainer> MakeTrainer() {
    auto trainer = std::make_unique<FakeTrainer>(nullptr);
    trainer->on_initial_model = [this](const JobInfo& info, uint64_t seed) {
      const TestJob& job = *std::find_if(std::begin(kJobs), std::end(kJobs),
                                         [&](const TestJob& j) { return info.name == j.name; });
      ParamVector model(test::FlatLayout(job.values, 8));
      Rng rng(seed);
      for (float& value : model.values()) value = static_cast<float>(rng.Uniform());
      ledger_.Initialised(model);
      return model;
    };
    trainer->on_train = [this](const TrainTask& task, ParamVector& model) {
      const ParamVector base = model.Clone();
      Rng rng = task.rng;
      for (float& value : model.values()) value += static_cast<float>(rng.Uniform(-1, 1));
      ParamVector delta = model.Clone();
      AddScaled(-1.0F, base.trainable(), delta.trainable());
      ledger_.Trained(task, base,
                      EncodeUpdate(*codecs_.at(task.job.name), delta, {.layout = delta.layout()}));
      if (kills_.contains(++trained_)) {
        MutexLock lock(killing_);
        EXPECT_THAT(daemon_->KillAndRestart(), IsOk());
        killed_.count_down();
      }
      return TrainResult{.num_examples = 10, .local_steps = 1, .learning_rate = 0.5};
    };
    return trainer;
  }

  // Everything that the clients sent for this job was counted once, as they sent it, and every
  // model that they fetched was what the coordinator had published.
  void ExpectIntact(const TestJob& job) {
    const std::string id = absl::StrCat(job.name, "-1");
    SCOPED_TRACE(id);
    const auto state = daemon_->Show({"job", "show", id});
    EXPECT_EQ(state.value("updates", 0), kUpdates) << state;

    const auto sent = ledger_.of(id);
    EXPECT_EQ(sent.size(), static_cast<size_t>(kUpdates)) << "nothing is trained in vain";
    std::map<Version, std::string> published;
    for (const auto& version : daemon_->Show({"model", "list", id})) {
      published[version.at("version")] = version.at("model_digest");
    }
    for (const auto& [order, entry] : sent) {
      EXPECT_EQ(entry.model_digest.ToHex(), published[entry.base]) << "fetched for order " << order;
      const auto kept =
          ReadWholeFile(absl::StrCat(daemon_->data_dir(), "/updates/", id, "/", order, ".update"));
      ASSERT_THAT(kept, IsOk());
      EXPECT_EQ(ChecksumOf(*kept).ToHex(), entry.xxh128) << "work order " << order;
    }

    const std::string out = daemon_->dir().File(absl::StrCat("export-", id));
    EXPECT_EQ(daemon_->Tool({"job", "export", id, "--out", out}).exit, Exit{.code = 0});
    std::set<WorkOrderId> counted;
    const std::vector<std::string> lines =
        absl::StrSplit(test::ReadFile(out + "/events.jsonl"), '\n', absl::SkipEmpty());
    for (const std::string& line : lines) {
      const auto event = nlohmann::json::parse(line, nullptr, false);
      if (event.value("event", "") != "update_arrived") continue;
      EXPECT_TRUE(counted.insert(event.at("work_order").get<WorkOrderId>()).second) << line;
    }
    EXPECT_EQ(counted.size(), static_cast<size_t>(kUpdates));
  }

  RealClock clock_;
  Ledger ledger_;
  const std::unique_ptr<Daemon> daemon_ =
      Daemon::Start(absl::StrCat("limits: {max_chunk_bytes: ", kChunkBytes, "}")).value();
  std::unique_ptr<FaultProxy> proxy_;
  std::map<std::string, std::unique_ptr<const Codec>> codecs_;
  // The trainings after which the coordinator is killed.
  const std::set<int> kills_ = {40, 110, 190};
  std::latch killed_{3};
  std::atomic<int> trained_ = 0;
  std::atomic<int> deaths_ = 0;
  std::atomic<bool> over_ = false;
  Mutex killing_;
  Mutex mu_;
  std::map<int, Client*> running_ ABSL_GUARDED_BY(mu_);
};

TEST_F(ProxyTest, EveryTransferArrivesOnceAndIntact) {
  for (const TestJob& job : kJobs) {
    auto codec = CreateCodec({{job.codec, {}}});
    ASSERT_THAT(codec, IsOk());
    codecs_[job.name] = *std::move(codec);
  }
  auto proxy = FaultProxy::Start({.upstream_port = daemon_->port(),
                                  .seed = kSeed,
                                  .mean_bytes_between_faults = 6e6,
                                  .longest_stall = absl::Milliseconds(100),
                                  .bytes_per_second = 8e6,
                                  .overtaken_percent = 20},
                                 &clock_);
  ASSERT_THAT(proxy, IsOk());
  proxy_ = *std::move(proxy);
  for (const TestJob& job : kJobs) {
    const test::Completed submitted = daemon_->Tool(
        {"job", "submit", daemon_->dir().Write(absl::StrCat(job.name, ".yaml"), JobFile(job))});
    ASSERT_EQ(submitted.exit, Exit{.code = 0}) << submitted.err;
  }
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) clients.emplace_back([this, i] { RunClient(i); });
  killed_.wait();
  for (const TestJob& job : kJobs) {
    const test::Completed watched = daemon_->Tool({"job", "watch", absl::StrCat(job.name, "-1")});
    EXPECT_EQ(watched.exit, Exit{.code = 0}) << watched.err;
  }
  const FaultProxyCounts counts = proxy_->counts();
  proxy_->EndFaults();
  over_ = true;
  for (int i = 0; i < kClients; ++i) StopClient(i);
  for (std::thread& client : clients) client.join();

  for (const TestJob& job : kJobs) ExpectIntact(job);
  EXPECT_THAT(deaths_, Gt(3));
  EXPECT_THAT(counts.overtaken, Gt(0));
  for (const Fault fault :
       {Fault::kCut, Fault::kStall, Fault::kDribble, Fault::kFlipData, Fault::kFlipLength}) {
    EXPECT_THAT(counts.of(fault), Gt(3)) << static_cast<int>(fault);
  }
  const auto needed = static_cast<double>(ledger_.payload_bytes());
  const auto resent = static_cast<double>(ledger_.resent_bytes());
  const auto travelled = static_cast<double>(counts.up_bytes + counts.down_bytes);
  std::cout << "payload " << needed / 1e6 << " MB, re-sent " << 100 * resent / needed
            << " %, travelled with all overhead " << 100 * (travelled / needed - 1) << " % more; "
            << counts.connections << " connections, faults";
  for (const int64_t n : counts.faults) std::cout << ' ' << n;
  std::cout << ", overtaken " << counts.overtaken << ", client deaths " << deaths_ << '\n';
  EXPECT_THAT(resent, Gt(0));
  EXPECT_LT(resent, 0.05 * needed);
}

}  // namespace
}  // namespace tributary
