// Clients that die, lie or vanish: the round ends, the job ends, and each is counted under
// its cause.

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/grpc_connection.h"
#include "client_sdk/internal/uploader.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/live_cluster.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::LiveCluster;
using test::TempDir;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Long enough for an upload of several chunks.
const LayoutPtr& Layout() {
  static const LayoutPtr layout = FlatLayout(1'000'000, 8);
  return layout;
}

nlohmann::json Job(int clients, int min_reports) {
  return {
      {"name", "faults"},
      {"model", {{"custom", "fake"}}},
      {"train", {{"local_steps", 3}}},
      {"scheduler",
       {{"sync_round",
         {{"clients_per_round", clients}, {"min_reports", min_reports}, {"on_loss", "close"}}}}},
      {"liveness_seconds", 2},
      {"stop", {{"versions", 1}}}};
}

// Speaks to the coordinator as an SDK client does, up to the point where it goes wrong.
class BadClient {
 public:
  BadClient(const LiveCluster& cluster, const std::string& id) {
    auto connection = sdk::GrpcConnection::Create(cluster.Options(id));
    EXPECT_THAT(connection, test::IsOk());
    connection_ = *std::move(connection);
    EXPECT_THAT(connection_->Enroll({}), test::IsOk());
  }

  // Checks in until there is work to train.
  void GetWork() {
    for (int i = 0; i < 100; ++i) {
      auto answer = connection_->CheckIn(absl::Seconds(10), 0, {});
      ASSERT_THAT(answer, test::IsOk());
      if (auto* work = std::get_if<sdk::WorkOrder>(&*answer)) {
        ASSERT_EQ(work->kind, sdk::WorkKind::kTrain);
        work_ = *work;
        return;
      }
    }
    ADD_FAILURE() << "no work";
  }

  void ReportProgress() {
    EXPECT_THAT(connection_->ReportProgress(
                    {.job = work_.job.id, .work_order = work_.id, .steps_done = 1}, {}),
                test::IsOkAndHolds(true));
  }

  std::string Payload(float value) const {
    const std::vector<float> values(static_cast<size_t>(Layout()->size()), value);
    return {reinterpret_cast<const char*>(values.data()), 4 * values.size()};
  }

  sdk::UpdateHeader Header(const std::string& payload, const LayoutPtr& layout) const {
    Xxh3Stream hash;
    hash.Update(payload);
    return {.job = work_.job.id,
            .info = {.work_order = work_.id,
                     .base_version = work_.version,
                     .num_examples = 5,
                     .local_steps = 3,
                     .learning_rate = 0.1},
            .layout_digest = layout->digest(),
            .total_bytes = static_cast<int64_t>(payload.size()),
            .xxh128 = hash.Value()};
  }

  // Everything, in one stream.
  sdk::UploadAnswer Upload(const sdk::UpdateHeader& header, const std::string& payload) {
    auto answer = connection_->UploadUpdate(header, sdk::ChunksFrom(payload, 0, 1 << 20), {});
    EXPECT_THAT(answer, test::IsOk());
    return answer.value_or(sdk::UploadAnswer{});
  }

  // The first chunk and then nothing any more, as of a process that was killed.
  void UploadHalfAndDie() {
    const std::string payload = Payload(1.0F);
    std::stop_source killed;
    auto chunks = sdk::ChunksFrom(payload, 0, 1 << 20);
    int sent = 0;
    const auto dying = [&]() -> std::optional<sdk::Chunk> {
      if (++sent > 2) killed.request_stop();
      return chunks();
    };
    EXPECT_FALSE(
        connection_->UploadUpdate(Header(payload, Layout()), dying, killed.get_token()).ok());
    Die();
  }

  void Diverge() {
    EXPECT_THAT(connection_->AbandonWork({.job = work_.job.id,
                                          .work_order = work_.id,
                                          .reason = sdk::AbandonReason::kDiverged,
                                          .message = "the loss became inf"}),
                test::IsOk());
  }

  void Die() { connection_.reset(); }

 private:
  std::unique_ptr<sdk::GrpcConnection> connection_;
  sdk::WorkOrder work_;
};

TEST(Faults, TheJobEndsAndEachIsCountedUnderItsCause) {
  const TempDir dir;
  LiveCluster cluster(dir.path());
  const std::string job = cluster.Submit(Job(/*clients=*/9, /*min_reports=*/3));
  for (const char* id : {"good-1", "good-2", "good-3"}) {
    cluster.AddClient(id, std::make_unique<FakeTrainer>(Layout()));
  }
  cluster.Await(job, [](const v1::Job& j) { return j.state() == v1::JOB_STATE_RUNNING; });

  // The round starts when all nine are there.
  std::vector<std::unique_ptr<BadClient>> bad;
  std::vector<std::thread> arriving;
  for (const char* id :
       {"killed-in-training", "killed-in-upload", "nan", "layout", "diverges", "vanished"}) {
    bad.push_back(std::make_unique<BadClient>(cluster, id));
    arriving.emplace_back([client = bad.back().get()] { client->GetWork(); });
  }
  for (std::thread& thread : arriving) thread.join();

  bad[0]->ReportProgress();
  bad[0]->Die();
  bad[1]->UploadHalfAndDie();

  const std::string nan = bad[2]->Payload(std::numeric_limits<float>::quiet_NaN());
  sdk::UploadAnswer answer = bad[2]->Upload(bad[2]->Header(nan, Layout()), nan);
  EXPECT_EQ(answer.state, sdk::UploadAnswer::State::kRefused);
  EXPECT_EQ(answer.refusal, "not_finite");

  const std::string good = bad[3]->Payload(1.0F);
  answer = bad[3]->Upload(bad[3]->Header(good, FlatLayout(7)), good);
  EXPECT_EQ(answer.state, sdk::UploadAnswer::State::kRefused);
  EXPECT_EQ(answer.refusal, "wrong_layout");

  bad[4]->Diverge();

  const v1::Job ended = cluster.AwaitEnd(job);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_DONE) << ended.reason();
  EXPECT_EQ(ended.version(), 1);
  EXPECT_EQ(ended.updates(), 3) << "of the three good ones";
  EXPECT_THAT(
      ended.counters().lost(),
      UnorderedElementsAre(Pair("timed_out", 3), Pair("not_finite", 2), Pair("wrong_layout", 1)));
}

TEST(Faults, ARepeatedUploadIsAnsweredAndCountedOnce) {
  const TempDir dir;
  LiveCluster cluster(dir.path());
  const std::string job = cluster.Submit(Job(/*clients=*/2, /*min_reports=*/2));
  cluster.AddClient("good", std::make_unique<FakeTrainer>(Layout()));
  cluster.Await(job, [](const v1::Job& j) { return j.state() == v1::JOB_STATE_RUNNING; });
  BadClient stutterer(cluster, "stutterer");
  stutterer.GetWork();
  const std::string payload = stutterer.Payload(0.5F);
  const sdk::UpdateHeader header = stutterer.Header(payload, Layout());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(stutterer.Upload(header, payload).state, sdk::UploadAnswer::State::kAccepted);
  }
  const v1::Job ended = cluster.AwaitEnd(job);
  EXPECT_EQ(ended.state(), v1::JOB_STATE_DONE) << ended.reason();
  EXPECT_EQ(ended.updates(), 2);
}

}  // namespace
}  // namespace tributary
