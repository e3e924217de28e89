#include "server/coordinator/job_executor.h"

#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/delivery.h"
#include "server/store/memory_store.h"
#include "tests/server/coordinator/controller_host.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::tributary::test::At;
using ::tributary::test::ControllerHost;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::MakeParams;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::Spec;
using ::tributary::test::StatusIs;

const JobId kJob("job");

class Payloads final : public UpdateSource {
 public:
  absl::StatusOr<PayloadBytes> Payload(WorkOrderId id) override {
    const auto it = payloads.find(id);
    if (it == payloads.end()) return absl::NotFoundError(absl::StrCat("no update ", id));
    return it->second;
  }
  std::map<WorkOrderId, std::string> payloads;
};

// A store that can refuse a publication.
class TestStore final : public MemoryStore {
 public:
  absl::StatusOr<VersionRecord> Publish(const Publication& publication) override {
    if (fail_publish) return absl::UnavailableError("no room");
    return MemoryStore::Publish(publication);
  }
  bool fail_publish = false;
};

// A store with a job of one layout, and an executor on it.
class JobExecutorTest : public ::testing::Test {
 protected:
  void Start(nlohmann::json changes, const ParamVector& first) {
    layout_ = first.layout();
    spec_ = Spec(std::move(changes));
    store_ = std::make_unique<TestStore>();
    ASSERT_THAT(store_->PutJob({.id = kJob}), IsOk());
    executor_ = JobExecutor::Create(spec_, kJob, store_.get()).value();
    ASSERT_THAT(executor_->Install(first, At(0)), IsOk());
  }
  // An update of these values: delta, then buffers.
  action::PublishVersion::Part Part(WorkOrderId id, Version base, std::vector<float> values,
                                    double coefficient = 1) {
    const auto codec = CreateCodec(spec_.codec).value();
    updates_.payloads[id] = EncodeUpdate(
        *codec, MakeParams(layout_, std::move(values)),
        {.layout = layout_, .rng = Rng(100 + static_cast<uint64_t>(id)).Split("codec")});
    return {.info = {.work_order = id, .base_version = base, .num_examples = 1, .local_steps = 1},
            .client = ClientId("c"),
            .staleness = newest_ - base,
            .bytes = 0,
            .seed = 100 + static_cast<uint64_t>(id),
            .coefficient = coefficient};
  }
  absl::Status Publish(action::PublishVersion what) {
    what.version = newest_ + 1;
    const auto published = executor_->Publish(what, updates_, At(1));
    TRIB_RETURN_IF_ERROR(published.status());
    newest_ = published->version;
    return executor_->Prune();
  }
  ParamVector Newest() { return store_->LoadModel(kJob, newest_).value(); }

  LayoutPtr layout_;
  JobSpec spec_;
  Payloads updates_;
  std::unique_ptr<TestStore> store_;
  std::unique_ptr<JobExecutor> executor_;
  Version newest_ = 0;
};

TEST_F(JobExecutorTest, GivenCoefficientsAreNotDivided) {
  Start(nlohmann::json::object(), MakeParams(FlatLayout(2, 1), {10, 20, 0}));
  ASSERT_THAT(Publish({.parts = {Part(1, 0, {1, 2, 6}, 0.5), Part(2, 0, {4, 0, 8}, 0.25)},
                       .given_coefficients = true}),
              IsOk());
  EXPECT_THAT(Newest(), ParamsNear({11.5, 21, 7}, 0)) << "buffers are the plain mean";
}

// randk says nothing of where its values belong: both ends draw it from the order's seed.
TEST_F(JobExecutorTest, ValuesChosenByTheOrdersSeedComeWhereTheyBelong) {
  constexpr int64_t kSize = 64;
  Start({{"codec", {{{"randk", {{"count", 1}}}}}}, {"error_feedback", false}},
        ParamVector(FlatLayout(kSize)));
  std::vector<float> delta(kSize);
  for (size_t i = 0; i < delta.size(); ++i) delta[i] = static_cast<float>(i + 1);
  std::set<size_t> places;
  for (WorkOrderId id = 1; id <= 8; ++id) {
    const ParamVector before = Newest();
    ASSERT_THAT(Publish({.parts = {Part(id, newest_, delta)}}), IsOk());
    const ParamVector after = Newest();
    for (size_t i = 0; i < delta.size(); ++i) {
      const float moved = after.values()[i] - before.values()[i];
      if (moved == 0) continue;
      EXPECT_EQ(moved, kSize * delta[i]) << i;  // unbiased: 1 of 64 stands for all
      places.insert(i);
    }
  }
  EXPECT_GT(places.size(), 3U);
}

TEST_F(JobExecutorTest, MixingMeasuresFromTheCurrentModel) {
  for (const bool mix : {true, false}) {
    newest_ = 0;
    Start(nlohmann::json::object(), MakeParams(FlatLayout(1), {5}));
    for (WorkOrderId id = 1; id <= 3; ++id)
      ASSERT_THAT(Publish({.parts = {Part(id, 0, {-1})}}), IsOk());
    ASSERT_THAT(Newest(), ParamsNear({2}, 0));
    // The client has trained 5 into 4; its base is three versions old.
    ASSERT_THAT(
        Publish({.parts = {Part(4, 0, {-1}, 0.5)}, .given_coefficients = true, .mix_models = mix}),
        IsOk());
    EXPECT_THAT(Newest(), ParamsNear({mix ? 3.0F : 1.5F}, 0)) << "halfway from 2 to 4, or −1/2";
  }
}

TEST_F(JobExecutorTest, MixingTakesABaseThatIsGoneAsCurrent) {
  Start({{"keep_versions", 2}}, MakeParams(FlatLayout(1), {5}));
  for (WorkOrderId id = 1; id <= 3; ++id)
    ASSERT_THAT(Publish({.parts = {Part(id, 0, {-1})}}), IsOk());
  ASSERT_THAT(store_->LoadModel(kJob, 0).status(), StatusIs(absl::StatusCode::kNotFound));
  ASSERT_THAT(
      Publish({.parts = {Part(4, 0, {-1}, 0.5)}, .given_coefficients = true, .mix_models = true}),
      IsOk());
  EXPECT_THAT(Newest(), ParamsNear({1.5}, 0));
}

// A job with a downlink codec, and clients that follow it by what they are sent.
class JobDownlinkTest : public JobExecutorTest {
 protected:
  void StartWith(const nlohmann::json& downlink,
                 nlohmann::json changes = nlohmann::json::object()) {
    if (!downlink.is_null()) changes["downlink"] = downlink;
    newest_ = 0;
    Start(std::move(changes), RandomParams(FlatLayout(500, 4), 1));
  }
  // A version of one update, drawn from its number.
  void PublishNext() {
    const WorkOrderId id = newest_ + 1;
    const ParamVector delta = RandomParams(layout_, 50 + static_cast<uint64_t>(id), 1e-3F);
    ASSERT_THAT(
        Publish({.parts = {Part(id, newest_, {delta.values().begin(), delta.values().end()})}}),
        IsOk());
  }
  // What a client that holds a version is sent of the newest one.
  std::unique_ptr<ModelReader> Open(Version held) const {
    const Digest digest = store_->GetVersion(kJob, held)->model_digest;
    return OpenDelivery(*store_, kJob, newest_, HeldVersion{held, digest}).value();
  }
  // What it then has; empty: it is sent the values.
  ParamVector Follow(Version held, ParamVector model) const {
    const auto reader = Open(held);
    if (reader->deltas().empty()) return {};
    const auto delta = ModelDifference::Create(*spec_.downlink).value();
    uint64_t begin = 0;
    for (const DeltaPart& part : reader->deltas()) {
      std::string bytes;
      EXPECT_THAT(reader->Read(begin, part.bytes, bytes), IsOk());
      EXPECT_THAT(delta->Apply(part.version, std::move(bytes), model), IsOk());
      begin += part.bytes;
    }
    return model;
  }
};

TEST_F(JobDownlinkTest, AChainOfDeltasIsTheVersion) {
  // How far behind a client can be: until the deltas are more bytes than the values.
  const std::vector<std::pair<nlohmann::json, int>> cases = {
      {nlohmann::json::array(), 1}, {{"int8"}, 3}, {{{{"topk", {{"fraction", 0.1}}}}, "sign"}, 20}};
  for (const auto& [codec, most] : cases) {
    StartWith({{"codec", codec}}, {{"keep_versions", 5}});
    std::vector<ParamVector> versions;
    for (versions.push_back(Newest()); newest_ < 20; versions.push_back(Newest())) {
      ASSERT_NO_FATAL_FAILURE(PublishNext());
    }
    int chains = 0;
    for (Version held = 0; held < newest_; ++held) {
      const ParamVector followed = Follow(held, versions[static_cast<size_t>(held)].Clone());
      if (followed.empty()) continue;
      ++chains;
      EXPECT_EQ(followed.ComputeDigest(), Newest().ComputeDigest()) << codec << " from " << held;
    }
    EXPECT_EQ(chains, most) << codec;
  }
}

TEST_F(JobDownlinkTest, AJobWithoutADownlinkHasNoDeltas) {
  StartWith(nullptr);
  ASSERT_NO_FATAL_FAILURE(PublishNext());
  EXPECT_TRUE(Open(0)->deltas().empty());
}

TEST_F(JobDownlinkTest, AnExactDownlinkChangesNoVersion) {
  std::map<bool, Digest> digests;
  for (const bool exact : {false, true}) {
    StartWith(exact ? nlohmann::json::object() : nlohmann::json());
    while (newest_ < 5) ASSERT_NO_FATAL_FAILURE(PublishNext());
    digests[exact] = Newest().ComputeDigest();
  }
  EXPECT_EQ(digests[false], digests[true]);
}

// The residual is part of what a version leaves in the store.
TEST_F(JobDownlinkTest, ARestartBetweenTwoVersionsChangesNothing) {
  std::map<bool, Digest> digests;
  for (const bool restart : {false, true}) {
    StartWith({{"codec", {{{"topk", {{"fraction", 0.05}}}}, "int4"}}});
    while (newest_ < 10) {
      ASSERT_NO_FATAL_FAILURE(PublishNext());
      if (!restart) continue;
      executor_ = JobExecutor::Create(spec_, kJob, store_.get()).value();
      ASSERT_THAT(executor_->Restore(), IsOk());
    }
    digests[restart] = Newest().ComputeDigest();
  }
  EXPECT_EQ(digests[false], digests[true]);
}

TEST_F(JobDownlinkTest, RestoreForgetsWhatAFailedPublicationLeft) {
  std::map<bool, Digest> digests;
  for (const bool fail : {false, true}) {
    StartWith({{"codec", {"int4"}}});
    ASSERT_NO_FATAL_FAILURE(PublishNext());
    if (fail) {
      store_->fail_publish = true;
      ASSERT_THAT(Publish({.parts = {Part(9, 1, std::vector<float>(504, 1.0F))}}),
                  StatusIs(absl::StatusCode::kUnavailable));
      store_->fail_publish = false;
      ASSERT_THAT(executor_->Restore(), IsOk());
    }
    ASSERT_NO_FATAL_FAILURE(PublishNext());
    digests[fail] = Newest().ComputeDigest();
  }
  EXPECT_EQ(digests[false], digests[true]);
}

TEST_F(JobExecutorTest, ACloseBesideTheMomentumLeavesNoTraceInIt) {
  const nlohmann::json momentum = {
      {"aggregation", {{"optimizer", {{"momentum", {{"learning_rate", 1}, {"momentum", 0.5}}}}}}}};
  Start(momentum, MakeParams(FlatLayout(1), {0}));
  ASSERT_THAT(Publish({.parts = {Part(1, 0, {1})}}), IsOk());
  ASSERT_THAT(Publish({.parts = {Part(2, 1, {8})}, .beside_momentum = true}), IsOk());
  EXPECT_THAT(Newest(), ParamsNear({9}, 0)) << "1 + 8, nothing of the velocity";
  ASSERT_THAT(Publish({.parts = {Part(3, 2, {1})}}), IsOk());
  EXPECT_THAT(Newest(), ParamsNear({10.5}, 0)) << "the velocity is 0.5·1 + 1";
}

TEST_F(JobExecutorTest, UpdatesCountAsIfTrainedAtTodaysRate) {
  Start(nlohmann::json::object(), MakeParams(FlatLayout(1, 1), {0, 0}));
  action::PublishVersion what{.parts = {Part(1, 0, {1, 4}), Part(2, 0, {3, 8})}};
  what.parts[1].rate_ratio = 2;
  ASSERT_THAT(Publish(what), IsOk());
  EXPECT_THAT(Newest(), ParamsNear({(1 + 2 * 3) / 2.0F, 6}, 0)) << "buffers are no differences";
}

// h = 1·4/√(1 + 3), and 0 where the updates are those of the version before.
TEST_F(JobExecutorTest, AHypergradientHearsOfTheUpdates) {
  for (const double repeated : {0.0, 1.0}) {
    newest_ = 0;
    Start({{"hypergradient", {{"form", "raw"}, {"bound", 9}}}}, MakeParams(FlatLayout(1), {0}));
    ASSERT_THAT(Publish({.parts = {Part(1, 0, {1})}}), IsOk());
    action::PublishVersion what{.version = 2, .parts = {Part(2, 0, {4}), Part(3, 0, {4})}};
    what.parts[0].staleness = 2;
    what.parts[1].staleness = 4;
    what.repeated = repeated;
    const auto published = executor_->Publish(what, updates_, At(1));
    ASSERT_THAT(published, IsOk());
    EXPECT_EQ(published->server_rate, repeated > 0 ? 1.0 : 3.0);
  }
}

// A chart of rates would show a step that nobody took.
TEST_F(JobExecutorTest, FirstAndLearntVersionsHaveTheOptimizersRateToo) {
  const LayoutPtr layout = test::TinyLayout();
  Start({{"aggregation",
          {{"transforms", {"prune_mask"}}, {"optimizer", {{"sgd", {{"learning_rate", 0.5}}}}}}}},
        MakeParams(layout, std::vector<float>(static_cast<size_t>(layout->size()), 1)));
  const auto rate = [this](Version version) {
    const auto record = store_->GetVersion(kJob, version).value();
    return nlohmann::json::parse(record.stats_json).at("server_rate").get<double>();
  };
  EXPECT_EQ(rate(0), 0.5);
  const LayoutPtr asked = executor_->Collections().at(CollectKind::kExplore).layout;
  ParamVector moved(asked);
  std::iota(moved.trainable().begin(), moved.trainable().end(), 1.0F);
  updates_.payloads[1] = EncodeUpdate(**CreateCodec({}), moved, {.layout = asked});
  const auto learnt = executor_->Publish(
      {.version = 1,
       .parts = {{.info = {.work_order = 1, .num_examples = 1, .local_steps = 1}}},
       .learns = CollectKind::kExplore},
      updates_, At(1));
  ASSERT_THAT(learnt, IsOk());
  EXPECT_EQ(learnt->server_rate, 0.5);
  EXPECT_EQ(rate(1), 0.5);
}

TEST_F(JobExecutorTest, TheClientsRateIsPartOfWhatIsPublished) {
  const nlohmann::json local = {{"hypergradient", {{"variant", "server_local"}, {"form", "raw"}}}};
  Start(local, MakeParams(FlatLayout(1), {0}));
  ASSERT_THAT(Publish({.parts = {Part(1, 0, {1})}}), IsOk());
  executor_ = JobExecutor::Create(spec_, kJob, store_.get()).value();
  ASSERT_THAT(executor_->Restore(), IsOk());
  const auto published =
      executor_->Publish({.version = 2, .parts = {Part(2, 1, {2})}}, updates_, At(1));
  ASSERT_THAT(published, IsOk());
  EXPECT_EQ(published->client_rate, 3.0);
  EXPECT_EQ(published->server_rate, 1.0);
  const auto record = store_->ListVersions(kJob).value().back();
  EXPECT_EQ(nlohmann::json::parse(record.stats_json).at("client_rate"), 3.0);
}

TEST_F(JobExecutorTest, GoesOnFromTheStoreAfterRestore) {
  const nlohmann::json momentum = {{"aggregation", {{"optimizer", "momentum"}}}};
  Start(momentum, MakeParams(FlatLayout(1), {0}));
  ASSERT_THAT(Publish({.parts = {Part(1, 0, {1})}}), IsOk());
  executor_ = JobExecutor::Create(spec_, kJob, store_.get()).value();
  ASSERT_THAT(executor_->Restore(), IsOk());
  ASSERT_THAT(Publish({.parts = {Part(2, 1, {0})}}), IsOk());
  EXPECT_THAT(Newest(), ParamsNear({1.9}, 1e-6)) << "the velocity of 1 came back as 0.9";
}

TEST_F(JobExecutorTest, PublishesNothingWhenSomethingIsWrong) {
  Start(nlohmann::json::object(), MakeParams(FlatLayout(1), {0}));
  action::PublishVersion missing{.version = 1, .parts = {Part(1, 0, {1})}};
  missing.parts[0].info.work_order = 7;
  EXPECT_THAT(executor_->Publish(missing, updates_, At(1)).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("7")));
  EXPECT_THAT(executor_->Publish({.version = 5, .parts = {Part(1, 0, {1})}}, updates_, At(1)),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("asked to publish version 5 after version 0")));
  EXPECT_THAT(store_->ListVersions(kJob).value(), SizeIs(1));
}

// Controller, scheduler, executor and store together; the model is one number.
class WholePathTest : public JobExecutorTest {
 protected:
  void Begin(nlohmann::json job, float first) {
    job["scheduler"]["sync_round"] = nullptr;
    job["stop"] = {{"versions", 100}};
    Start(std::move(job), MakeParams(FlatLayout(1), {first}));
    host_ = std::make_unique<ControllerHost>(spec_, /*initial_model=*/true);
    host_->Published(0);
    for (const char* client : {"a", "b"}) host_->CheckIn(0, client);
    ASSERT_THAT(host_->Out(WorkKind::kTrain), SizeIs(2));
  }
  void Deliver(const std::string& client, float delta, double at = 1) {
    for (const WorkOrder& order : host_->Out(WorkKind::kTrain)) {
      if (order.client.value() != client) continue;
      Part(order.id, order.version, {delta});
      host_->Finish(at, order.id);
      return PublishAll(at);
    }
    ADD_FAILURE() << client << " has no work";
  }
  void PublishAll(double at) {
    for (; published_ < host_->publications.size(); ++published_) {
      ASSERT_THAT(Publish(host_->publications[published_]), IsOk());
      host_->Published(at);
    }
  }

  size_t published_ = 0;
  std::unique_ptr<ControllerHost> host_;
};

// w = 1, W = 3, alpha 0.6, τ = 3, s = (1 + τ)^(−0.5): α_t = 0.3 and w = 1.6.
TEST_F(WholePathTest, FedAsyncMixesAStaleModel) {
  Begin({{"scheduler", {{"fedasync", {{"alpha", 0.6}}}}}}, 1);
  for (int i = 0; i < 3; ++i) Deliver("a", 0);
  Deliver("b", 2);
  EXPECT_EQ(newest_, 4);
  EXPECT_THAT(Newest(), ParamsNear({1.6}, 1e-6));
}

// K = 2, deltas (1, τ 0) and (2, τ 3): w + (1·1 + 0.5·2)/2.
TEST_F(WholePathTest, FedBuffWeighsByStalenessAndDividesByTheGoal) {
  Begin({{"scheduler", {{"fedbuff", {{"goal", 2}}}}}}, 10);
  for (int i = 0; i < 6; ++i) Deliver("a", 0);
  EXPECT_EQ(newest_, 3);
  Deliver("a", 1);
  EXPECT_EQ(newest_, 3) << "never before the second upload";
  Deliver("b", 2);
  EXPECT_EQ(newest_, 4);
  EXPECT_THAT(Newest(), ParamsNear({11}, 0));
}

// The second round: a's delta 1 in full, b's late delta 4 with s(1) = 1/√2, divided by 1 + 1/√2.
TEST_F(WholePathTest, AFoldedUpdateIsDampedByTheCombineRule) {
  const nlohmann::json rounds = {
      {"clients_per_round", 2}, {"min_available", 2}, {"deadline_seconds", 100}, {"late", "fold"}};
  Begin({{"scheduler", {{"deadline", rounds}}},
         {"aggregation", {{"combine", {{"fedavg", {{"staleness", "polynomial"}}}}}}}},
        0);
  Deliver("a", 1);
  host_->CheckIn(1, "a");
  host_->Wait(100);
  PublishAll(100);
  EXPECT_THAT(Newest(), ParamsNear({1}, 0)) << "the deadline: a's update alone";
  Deliver("b", 4, 120);
  host_->CheckIn(120, "b");
  Deliver("a", 1, 130);
  host_->Wait(220);
  PublishAll(220);
  EXPECT_EQ(newest_, 2);
  EXPECT_THAT(Newest(), ParamsNear({1 + 2.2426407F}, 1e-6));
}

TEST_F(WholePathTest, TieredMixesATiersModel) {
  Begin({{"scheduler", {{"tiered", {{"tiers", 2}}}}}}, 0);
  Deliver("a", 2);
  Deliver("b", 4);  // the profile: the mean, 3
  EXPECT_THAT(Newest(), ParamsNear({3}, 0));
  for (const char* client : {"a", "b"}) host_->CheckIn(1, client);
  Deliver("a", 1);  // 3 + (4 − 3)/2
  EXPECT_THAT(Newest(), ParamsNear({3.5}, 0));
  Deliver("b", 2);  // W = 5 from 3: 3.5 + (5 − 3.5)/2
  EXPECT_THAT(Newest(), ParamsNear({4.25}, 0));
}

}  // namespace
}  // namespace tributary
