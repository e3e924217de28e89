#include "client_sdk/internal/session.h"

#include <algorithm>
#include <cstring>
#include <latch>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client_sdk/mocks/fake_trainer.h"
#include "common/clock.h"
#include "common/codec/update_payload.h"
#include "common/train_spec/train_spec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/fake_server.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary::sdk {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;
using Kind = ClientEvent::Kind;

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    options_.server = "localhost:1";
    options_.id = ClientId("c1");
    options_.idle_limit = absl::Minutes(5);
    options_.on_event = [this](const ClientEvent& event) {
      events_.push_back(event);
      if (on_event_) on_event_(event);
    };
    server_.models[3] = RandomParams(layout_, 33);
  }

  absl::Status Run() {
    return Session(options_, &trainer_, &server_, &clock_, stop_.get_token()).Run();
  }
  absl::Status RunOnce() {
    return Session(options_, &trainer_, &server_, &clock_, stop_.get_token()).RunOnce();
  }
  void Give(WorkKind kind, WorkOrderId id) { server_.check_ins.push_back(MakeOrder(kind, id, 3)); }

  std::vector<Kind> Kinds() const {
    std::vector<Kind> kinds;
    for (const ClientEvent& event : events_) kinds.push_back(event.kind);
    return kinds;
  }
  const ClientEvent* FindEvent(Kind kind) const {
    const auto it = std::find_if(events_.begin(), events_.end(),
                                 [kind](const ClientEvent& e) { return e.kind == kind; });
    return it == events_.end() ? nullptr : &*it;
  }

  const LayoutPtr layout_ = FlatLayout(20, 5);
  FakeServer server_;
  FakeTrainer trainer_{layout_};
  SimulatedClock clock_;
  ClientOptions options_;
  std::stop_source stop_;
  std::vector<ClientEvent> events_;
  std::function<void(const ClientEvent&)> on_event_;
};

// What the wire must carry for an order of training: the oracle for live == simulated.
std::string ExpectedPayload(const ParamVector& base, uint64_t seed, const Codec& codec) {
  ParamVector delta = base.Clone();
  Rng rng(seed);
  for (float& value : delta.values()) value += static_cast<float>(rng.Uniform());
  for (size_t i = 0; i < delta.trainable().size(); ++i) {
    delta.trainable()[i] -= base.trainable()[i];
  }
  return EncodeUpdate(codec, delta, {base.layout(), Rng(seed).Split("codec")});
}

TEST_F(SessionTest, InitialisesWithTheOrdersSeedAndSendsTheWholeModel) {
  WorkOrder order = MakeOrder(WorkKind::kInitialise, 1);
  order.seed = 0xFFFFFFFFFFFFFFFF;
  server_.check_ins.push_back(order);
  EXPECT_THAT(Run(), IsOk());

  const FakeServer::Upload& upload = server_.uploads.at(1);
  EXPECT_TRUE(upload.accepted);
  ASSERT_NE(upload.header.initial_layout, nullptr);
  EXPECT_EQ(upload.header.initial_layout->digest(), layout_->digest());
  EXPECT_EQ(upload.header.layout_digest, layout_->digest());
  const ParamVector expected = *FakeTrainer(layout_).InitialModel({}, order.seed);
  ASSERT_EQ(upload.payload.size(), expected.values().size() * 4);
  EXPECT_EQ(std::memcmp(upload.payload.data(), expected.values().data(), upload.payload.size()), 0);
}

// ---- adapters --------------------------------------------------------------------------

class SessionAdapterTest : public SessionTest {
 protected:
  explicit SessionAdapterTest(const std::string& rule = "fedsa") {
    terms_ = {.spec = {}, .rule = rule};
    terms_.spec.rank = 2;
    terms_.spec.targets = {"fc"};
    plan_ = LoraPlan::Create(terms_, *tiny_).value();
    server_.models[3] = plan_->FirstModel(RandomParams(tiny_, 3), 5);
    trainer_.on_train_adapter = [this](const TrainTask&, const FrozenModel& frozen,
                                       ParamVector& adapter) -> absl::StatusOr<TrainResult> {
      EXPECT_EQ(frozen.model->ComputeDigest(), server_.models[3].ComputeDigest());
      EXPECT_EQ(frozen.rank, 2);
      started_.push_back(adapter.Clone());
      AddScaled(1.0F, RandomParams(adapter.layout(), 40 + started_.size()).values(),
                adapter.values());
      trained_.push_back(adapter.Clone());
      return TrainResult{.num_examples = 4, .local_steps = 2};
    };
  }
  void GiveAdapter(WorkOrderId id, int64_t rank = 2) {
    WorkOrder order = MakeOrder(WorkKind::kTrain, id, 3, 70 + static_cast<uint64_t>(id));
    order.adapter_rank = rank;
    order.lora_json = config::Print(terms_).dump();
    order.downlink_json = "{}";
    server_.check_ins.push_back(order);
  }

  const LayoutPtr tiny_ = test::TinyLayout();
  LoraTerms terms_;
  std::shared_ptr<const LoraPlan> plan_;
  std::vector<ParamVector> started_, trained_;
};

TEST_F(SessionAdapterTest, SendsWhatTrainingHasChangedOfTheFactorThatTheRuleSends) {
  GiveAdapter(1);
  EXPECT_THAT(Run(), IsOk());
  const FakeServer::Upload& upload = server_.uploads.at(1);
  EXPECT_TRUE(upload.accepted);
  const LayoutPtr sent = plan_->AdapterLayout(2, AdapterFactors::kA);
  EXPECT_EQ(upload.header.layout_digest, sent->digest());
  ASSERT_EQ(upload.payload.size(), static_cast<size_t>(sent->size()) * sizeof(float));
  const ParamVector expected = plan_->Sent(trained_[0], started_[0], 2, 3);
  EXPECT_EQ(std::memcmp(upload.payload.data(), expected.values().data(), upload.payload.size()), 0);
}

TEST_F(SessionAdapterTest, TheFactorThatStaysIsWhereTheNextTrainingBeginsAndIsEvaluated) {
  ParamVector evaluated;
  trainer_.on_evaluate = [&](const EvalTask&, const ParamVector& model) {
    evaluated = model.Clone();
    return EvalResult{.num_examples = 1};
  };
  GiveAdapter(1);
  GiveAdapter(2);
  WorkOrder evaluate = MakeOrder(WorkKind::kEvaluate, 3, 3);
  evaluate.lora_json = config::Print(terms_).dump();
  server_.check_ins.push_back(evaluate);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(started_, SizeIs(2));
  const std::string b = FactorName("fc", 'B'), a = FactorName("fc", 'A');
  EXPECT_THAT(started_[1].View(b), ParamsNear(trained_[0].View(b), 0));
  EXPECT_THAT(started_[1].View(a), ParamsNear(started_[0].View(a), 0)) << "the version's";

  ParamVector own = started_[0].Clone();  // A of the version, B of the client
  std::ranges::copy(trained_[1].View(b), own.View(b).begin());
  EXPECT_EQ(evaluated.layout()->digest(), tiny_->digest()) << "an ordinary model";
  EXPECT_THAT(evaluated, ParamsNear(plan_->Merged(server_.models[3], own, 2), 0));
}

TEST_F(SessionAdapterTest, OrdersThatMakeNoSenseAreGivenBack) {
  GiveAdapter(1, /*rank=*/0);
  GiveAdapter(2, /*rank=*/3);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(2));
  EXPECT_THAT(server_.abandoned[1].message, HasSubstr("adapter_rank 3; allowed: 1 to 2"));
}

TEST_F(SessionAdapterTest, ATrainerThatKnowsNoAdaptersSaysSo) {
  trainer_.on_train_adapter = nullptr;
  GiveAdapter(1);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_THAT(server_.abandoned[0].message, HasSubstr("it has no TrainAdapter"));
}

// ---- programs --------------------------------------------------------------------------

class SessionProgramTest : public SessionTest {
 protected:
  SessionProgramTest() {
    server_.program = "the program's bytes";
    const ModelSpec model{.program = ProgramSpecOf(server_.program)};
    model_json_ = config::Print(model).dump();
    trainer_.on_initial_model = [this](const JobInfo& job, uint64_t) {
      See(job);
      return absl::StatusOr<ParamVector>(RandomParams(layout_, 1));
    };
    trainer_.on_train = [this](const TrainTask& task, ParamVector&) {
      See(task.job);
      return TrainResult{.num_examples = 1, .local_steps = 1};
    };
    trainer_.on_evaluate = [this](const EvalTask& task, const ParamVector&) {
      See(task.job);
      return EvalResult{.num_examples = 1};
    };
  }
  void See(const JobInfo& job) { seen_.push_back(job.program == nullptr ? "none" : *job.program); }
  void Give(WorkKind kind, WorkOrderId id) {
    WorkOrder order = MakeOrder(kind, id, 3);
    order.job.model_json = model_json_;
    server_.check_ins.push_back(order);
  }

  std::string model_json_;
  std::vector<std::string> seen_;  // the programs that the trainer was given
};

TEST_F(SessionProgramTest, BringsTheProgramToEveryKindOfWork) {
  options_.allow_programs = true;
  Give(WorkKind::kInitialise, 1);
  Give(WorkKind::kTrain, 2);
  Give(WorkKind::kEvaluate, 3);
  server_.check_ins.push_back(MakeOrder(WorkKind::kTrain, 4, 3));  // of a job without one
  EXPECT_THAT(Run(), IsOk());
  EXPECT_THAT(seen_, ElementsAre(server_.program, server_.program, server_.program, "none"));
  EXPECT_EQ(server_.program_calls, 1);
  EXPECT_THAT(server_.abandoned, IsEmpty());
}

TEST_F(SessionProgramTest, RunsNoneUnlessItsOperatorAllowsIt) {
  Give(WorkKind::kTrain, 1);
  server_.check_ins.push_back(MakeOrder(WorkKind::kTrain, 2, 3));
  EXPECT_THAT(Run(), IsOk()) << "and goes on";
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_EQ(server_.abandoned[0].work_order, 1);
  EXPECT_EQ(server_.abandoned[0].reason, AbandonReason::kNotAllowed);
  EXPECT_THAT(server_.abandoned[0].message, HasSubstr("--allow-programs"));
  EXPECT_EQ(server_.program_calls, 0) << "not even fetched";
  EXPECT_EQ(server_.uploads.count(1), 0u);
  EXPECT_TRUE(server_.uploads.at(2).accepted);
}

TEST_F(SessionProgramTest, AProgramThatIsNotTheOneNamedIsNeverRun) {
  options_.allow_programs = true;
  server_.program = "the programme bytes";  // as long
  Give(WorkKind::kTrain, 1);
  EXPECT_THAT(Run(), IsOk());
  EXPECT_THAT(seen_, IsEmpty());
  ASSERT_THAT(server_.abandoned, SizeIs(1));
}

class SessionCodecTest : public SessionTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(SessionCodecTest, TrainsWithTheOrdersSeedAndSendsTheEncodedDifference) {
  WorkOrder order = MakeOrder(WorkKind::kTrain, 4, 3, 0x123456789ABCDEF0);
  order.local_steps = 12;
  order.codec_json = GetParam();
  server_.check_ins.push_back(order);
  EXPECT_THAT(Run(), IsOk());

  const FakeServer::Upload& upload = server_.uploads.at(4);
  EXPECT_TRUE(upload.accepted);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto codec, ParseCodec(GetParam()));
  EXPECT_EQ(upload.payload, ExpectedPayload(server_.models[3], order.seed, *codec));
  EXPECT_EQ(upload.header.initial_layout, nullptr);
  EXPECT_EQ(upload.header.layout_digest, layout_->digest());
  EXPECT_EQ(upload.header.info.work_order, 4);
  EXPECT_EQ(upload.header.info.base_version, 3);
  EXPECT_EQ(upload.header.info.num_examples, 10);
  EXPECT_EQ(upload.header.info.local_steps, 12);
  EXPECT_EQ(upload.header.info.learning_rate, 0.5);
  EXPECT_EQ(upload.header.info.loss, 0.25);
  EXPECT_EQ(upload.header.info.accuracy, 0.75);
  EXPECT_THAT(server_.models[3], ParamsNear(RandomParams(layout_, 33), 0)) << "base untouched";
}

INSTANTIATE_TEST_SUITE_P(Codecs, SessionCodecTest,
                         ::testing::Values("", "[]", R"([{"raw":{}}])", R"([{"fp16":{}}])",
                                           R"(["fp16"])"));

TEST_F(SessionTest, AnExplorationSendsHowFarEachParameterMoved) {
  WorkOrder order = MakeOrder(WorkKind::kExplore, 4, 3, 99);
  order.collect = {
      .kind = CollectKind::kExplore, .options_json = "{}", .layout = FlatLayout(20, 0)};
  server_.check_ins.push_back(order);
  EXPECT_THAT(Run(), IsOk());
  const FakeServer::Upload& upload = server_.uploads.at(4);
  EXPECT_TRUE(upload.accepted);
  EXPECT_EQ(upload.header.layout_digest, order.collect.layout->digest());
  EXPECT_EQ(upload.header.info.base_version, 3);
  EXPECT_EQ(upload.header.info.num_examples, 10);
  ParamVector trained = server_.models[3].Clone();
  Rng rng(99);
  for (float& value : trained.values()) value += static_cast<float>(rng.Uniform());
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector expected,
                            Deviations(server_.models[3], trained, order.collect));
  ASSERT_EQ(upload.payload.size(), 20 * sizeof(float));
  EXPECT_EQ(std::memcmp(upload.payload.data(), expected.values().data(), upload.payload.size()), 0);
}

TEST_F(SessionTest, ASketchIsWhatTheTrainerMakesOfItsLayersInputs) {
  WorkOrder order = MakeOrder(WorkKind::kSketch, 4, 3, 99);
  order.task = 2;
  order.collect = {.kind = CollectKind::kSketch, .options_json = "{}", .layout = FlatLayout(3, 0)};
  server_.check_ins.push_back(order);
  trainer_.on_sketch = [&](const CollectTask& task,
                           ParamVector& sketch) -> absl::StatusOr<int64_t> {
    EXPECT_EQ(task.task, 2);
    EXPECT_EQ(task.rng.state(), Rng(99).state());
    for (float& value : sketch.values()) value = 5;
    return 7;
  };
  EXPECT_THAT(Run(), IsOk());
  const FakeServer::Upload& upload = server_.uploads.at(4);
  const std::vector<float> expected = {5, 5, 5};
  EXPECT_EQ(upload.header.info.num_examples, 7);
  ASSERT_EQ(upload.payload.size(), 3 * sizeof(float));
  EXPECT_EQ(std::memcmp(upload.payload.data(), expected.data(), upload.payload.size()), 0);
}

TEST_F(SessionTest, ATrainerWithoutSketchesGivesTheWorkBackWithTheReason) {
  WorkOrder order = MakeOrder(WorkKind::kSketch, 4, 3, 99);
  order.collect = {.kind = CollectKind::kSketch, .options_json = "{}", .layout = FlatLayout(3, 0)};
  server_.check_ins.push_back(order);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_EQ(server_.abandoned.size(), 1u);
  EXPECT_THAT(server_.abandoned[0].message, ::testing::HasSubstr("has no SketchInputs"));
}

TEST_F(SessionTest, WhoCannotSketchSaysSoBeforeTraining) {
  trainer_.on_can_sketch = [](const JobInfo&) { return absl::InvalidArgumentError("no inputs"); };
  for (const WorkKind kind : {WorkKind::kInitialise, WorkKind::kTrain}) {
    WorkOrder order = MakeOrder(kind, 4 + static_cast<int>(kind), 3, 99);
    order.sketches = true;
    server_.check_ins.push_back(order);
  }
  EXPECT_THAT(Run(), IsOk());
  ASSERT_EQ(server_.abandoned.size(), 2u);
  for (const AbandonNotice& notice : server_.abandoned) {
    EXPECT_EQ(notice.reason, AbandonReason::kTrainerFailed);
    EXPECT_THAT(notice.message, ::testing::HasSubstr("no inputs"));
  }
  EXPECT_EQ(trainer_.trained, 0);

  // A job without sketches does not ask.
  server_.check_ins.push_back(MakeOrder(WorkKind::kTrain, 6, 3, 99));
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(trainer_.trained, 1);
}

TEST_F(SessionTest, AllTasksThatAreAskedForAreEvaluated) {
  WorkOrder order = MakeOrder(WorkKind::kEvaluate, 5, 3);
  order.task = 2;
  order.tasks = 3;
  server_.check_ins.push_back(order);
  trainer_.on_evaluate = [](const EvalTask& task,
                            const ParamVector&) -> absl::StatusOr<EvalResult> {
    return EvalResult{.num_examples = 10 + task.task, .loss = 1, .accuracy = 0.5};
  };
  EXPECT_THAT(Run(), IsOk());
  ASSERT_EQ(server_.reports.size(), 1u);
  const EvaluationReport& report = server_.reports[0];
  ASSERT_EQ(report.tasks.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(report.tasks[static_cast<size_t>(i)].num_examples, 10 + i);
  EXPECT_EQ(report.result.num_examples, 12) << "the last one's";
}

TEST_F(SessionTest, TheTaskSaysAllThatTheOrderSays) {
  WorkOrder order = MakeOrder(WorkKind::kTrain, 4, 3, 99);
  order.deadline = absl::FromUnixSeconds(1000);
  order.job.train_json = R"({"batch_size":8})";
  server_.check_ins.push_back(order);
  trainer_.on_train = [&](const TrainTask& task, ParamVector&) -> absl::StatusOr<TrainResult> {
    EXPECT_EQ(task.job.id, JobId("job-1"));
    EXPECT_EQ(task.job.train_json, order.job.train_json);
    EXPECT_EQ(task.work_order, 4);
    EXPECT_EQ(task.base_version, 3);
    EXPECT_EQ(task.local_steps, std::nullopt);
    EXPECT_EQ(task.client_rate, 1.0);
    EXPECT_EQ(task.previous, nullptr);
    EXPECT_EQ(task.deadline, order.deadline);
    EXPECT_EQ(task.rng.state(), Rng(99).state());
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  EXPECT_THAT(Run(), IsOk());
  EXPECT_TRUE(server_.uploads.at(4).accepted);
}

// Held: not sent again. Not held: sent. Stored no more: done without.
TEST_F(SessionTest, FetchesTheVersionBeforeTheBaseWhereTheOrderWantsIt) {
  std::vector<bool> known;
  trainer_.on_train = [&](const TrainTask& task, ParamVector&) -> absl::StatusOr<TrainResult> {
    known.push_back(task.previous != nullptr);
    if (task.previous != nullptr) {
      EXPECT_EQ(task.server_rate, 0.5);
      EXPECT_EQ(task.client_rate, 2.0);
      EXPECT_THAT(*task.previous, ParamsNear(server_.models[task.base_version - 1], 0));
    }
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  server_.models[4] = RandomParams(layout_, 34);
  server_.models[5] = RandomParams(layout_, 35);
  const int64_t model_bytes = 4 * layout_->size();
  for (const Version version : {4, 5, 3}) {
    WorkOrder order = MakeOrder(WorkKind::kTrain, /*id=*/10 + version, version);
    order.server_rate = 0.5;
    order.client_rate = 2;
    server_.check_ins.push_back(order);
  }
  EXPECT_THAT(Run(), IsOk());
  EXPECT_THAT(known, ElementsAre(true, true, false));
  EXPECT_EQ(server_.fetched_bytes, 4 * model_bytes) << "3 and 4; 5; and 3 again or not";
}

TEST_F(SessionTest, EachCheckInTellsTheTask) {
  Session session(options_, &trainer_, &server_, &clock_, stop_.get_token());
  on_event_ = [&](const ClientEvent& event) {
    if (event.kind == Kind::kWaiting && server_.tasks.size() == 2) session.SetTask(4);
  };
  EXPECT_THAT(session.Run(), IsOk());
  ASSERT_GT(server_.tasks.size(), 3U);
  EXPECT_EQ(server_.tasks[0], 0);
  EXPECT_EQ(server_.tasks[1], 0);
  EXPECT_EQ(server_.tasks[2], 4);
  EXPECT_EQ(server_.tasks.back(), 4);
}

TEST_F(SessionTest, EvaluatesAndReports) {
  Give(WorkKind::kEvaluate, 5);
  server_.report_answers = {absl::UnavailableError("broken"), EvaluationAnswer{.counted = true}};
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.reports, SizeIs(2));
  const EvaluationReport& report = server_.reports.back();
  EXPECT_EQ(report.work_order, 5);
  EXPECT_EQ(report.version, 3);
  EXPECT_EQ(report.result.num_examples, 7);
  EXPECT_EQ(report.result.loss, server_.models[3].values()[0]);
  EXPECT_THAT(Kinds(), Contains(Kind::kAccepted));
}

TEST_F(SessionTest, AnEvaluationThatIsNotCountedIsToldAndEndsNothing) {
  Give(WorkKind::kEvaluate, 5);
  Give(WorkKind::kTrain, 6);
  server_.report_answers = {EvaluationAnswer{.counted = false, .message = "too late"}};
  EXPECT_THAT(Run(), IsOk());
  ASSERT_NE(FindEvent(Kind::kRefused), nullptr);
  EXPECT_EQ(FindEvent(Kind::kRefused)->message, "too late");
  EXPECT_TRUE(server_.uploads.at(6).accepted);
  EXPECT_THAT(server_.abandoned, IsEmpty());
}

TEST_F(SessionTest, AHeldModelServesTheNextOrder) {
  Give(WorkKind::kTrain, 1);
  Give(WorkKind::kEvaluate, 2);
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(server_.fetched_bytes, 100);
  EXPECT_EQ(server_.fetch_calls, 2);
}

TEST_F(SessionTest, AnOrderWithADownlinkIsServedWithDeltas) {
  for (const std::string downlink : {"", R"({"codec":[]})", R"({"codec":["int17"]})"}) {
    server_.models[4] = server_.models[3].Clone();
    server_.models[4].values()[0] += 1;
    const auto delta = ModelDifference::Create({}).value();
    server_.deltas[4] = delta->Encode(4, server_.models[3], server_.models[4]);
    server_.fetched_bytes = 0;
    for (const Version version : {3, 4}) {
      WorkOrder order = MakeOrder(WorkKind::kEvaluate, version, version);
      order.downlink_json = downlink;
      server_.check_ins.push_back(order);
    }
    EXPECT_THAT(Run(), IsOk());
    EXPECT_EQ(server_.reports.back().result.loss, server_.models[4].values()[0]);
    const bool deltas = downlink == R"({"codec":[]})";
    EXPECT_EQ(server_.fetched_bytes,
              100 + (deltas ? static_cast<int64_t>(server_.deltas[4].size()) : 100))
        << downlink;
  }
}

TEST_F(SessionTest, EventsTellTheStory) {
  Give(WorkKind::kTrain, 1);
  server_.limits.max_chunk_bytes = 1000;
  options_.idle_limit = absl::Milliseconds(1500);
  EXPECT_THAT(Run(), IsOk());
  EXPECT_THAT(Kinds(), ::testing::ElementsAre(Kind::kEnrolled, Kind::kWorkReceived,
                                              Kind::kDownloading, Kind::kTraining, Kind::kTraining,
                                              Kind::kUploading, Kind::kUploading, Kind::kAccepted,
                                              Kind::kWaiting, Kind::kWaiting));
  EXPECT_EQ(FindEvent(Kind::kEnrolled)->message, "fake/1");
  const ClientEvent& work = *FindEvent(Kind::kWorkReceived);
  EXPECT_EQ(work.job, JobId("job-1"));
  EXPECT_EQ(work.job_name, "test");
  EXPECT_EQ(work.work, "train");
  EXPECT_EQ(work.work_order, 1);
  EXPECT_EQ(work.version, 3);
  EXPECT_EQ(FindEvent(Kind::kDownloading)->done, 100);
  EXPECT_EQ(FindEvent(Kind::kDownloading)->total, 100);
}

// --- Waiting

TEST_F(SessionTest, SleepsWithinTheRetryWindow) {
  server_.no_work = {absl::Seconds(3), absl::Seconds(5)};
  options_.idle_limit = absl::Hours(1);
  std::vector<absl::Time> asked;
  on_event_ = [&](const ClientEvent& e) {
    if (e.kind == Kind::kWaiting) asked.push_back(clock_.Now());
  };
  EXPECT_THAT(Run(), IsOk());
  ASSERT_GT(asked.size(), 700);
  double sum = 0;
  for (size_t i = 1; i < asked.size(); ++i) {
    const double seconds = absl::ToDoubleSeconds(asked[i] - asked[i - 1]);
    ASSERT_GE(seconds, 3);
    ASSERT_LE(seconds, 5);
    sum += seconds;
  }
  EXPECT_NEAR(sum / static_cast<double>(asked.size() - 1), 4.0, 0.1);
}

TEST_F(SessionTest, AsksTheServerToHoldTheCallNoLongerThanBothAllow) {
  options_.max_wait = absl::Seconds(30);
  server_.limits.max_wait = absl::Seconds(20);
  options_.idle_limit = absl::Minutes(1);
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(server_.max_waits.front(), absl::Seconds(20));
  EXPECT_LT(server_.max_waits.back(), absl::Seconds(3)) << "the rest of idle_limit";
}

TEST_F(SessionTest, IdleTimeStartsAnewAfterWork) {
  options_.idle_limit = absl::Seconds(10);
  for (int i = 0; i < 4; ++i) server_.check_ins.push_back(server_.no_work);
  Give(WorkKind::kTrain, 1);
  trainer_.on_train = [&](const TrainTask&, ParamVector&) -> absl::StatusOr<TrainResult> {
    clock_.AdvanceBy(absl::Hours(1));
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  EXPECT_THAT(Run(), IsOk());
  EXPECT_GE(clock_.Now() - absl::UnixEpoch(), absl::Hours(1) + absl::Seconds(14));
}

// --- The server away

TEST_F(SessionTest, EnrollsAgainAfterEveryFailedCheckIn) {
  server_.check_ins = {absl::UnavailableError("restart"), absl::NotFoundError("who are you?"),
                       absl::FailedPreconditionError("enroll first")};
  Give(WorkKind::kTrain, 1);
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(server_.enrol_calls, 4);
  EXPECT_TRUE(server_.uploads.at(1).accepted);
}

TEST_F(SessionTest, AnUnreachableServerIsTriedForConnectLimit) {
  options_.connect_limit = absl::Minutes(2);
  options_.idle_limit = absl::InfiniteDuration();
  for (int i = 0; i < 1000; ++i) server_.enrolments.push_back(absl::UnavailableError("refused"));
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("localhost:1")));
  EXPECT_GT(server_.enrol_calls, 5);
  EXPECT_LT(server_.enrol_calls, 100);
  EXPECT_LE(clock_.Now() - absl::UnixEpoch(), absl::Minutes(2));
}

TEST_F(SessionTest, AServerThatWasNeverReachedIsNotMereIdleness) {
  for (int i = 0; i < 1000; ++i) server_.enrolments.push_back(absl::UnavailableError("refused"));
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("refused")));
}

TEST_F(SessionTest, AServerThatWentAwayIsIdleness) {
  Give(WorkKind::kTrain, 1);
  for (int i = 0; i < 1000; ++i) server_.check_ins.push_back(absl::UnavailableError("gone"));
  EXPECT_THAT(Run(), IsOk());
}

TEST_F(SessionTest, RefusalsAtTheDoorEndIt) {
  for (const auto code : {absl::StatusCode::kUnauthenticated, absl::StatusCode::kPermissionDenied,
                          absl::StatusCode::kInvalidArgument, absl::StatusCode::kUnimplemented,
                          absl::StatusCode::kFailedPrecondition}) {
    server_.enrolments = {absl::Status(code, "no")};
    EXPECT_THAT(Run(), StatusIs(code));
  }
  for (const auto code : {absl::StatusCode::kUnauthenticated, absl::StatusCode::kPermissionDenied,
                          absl::StatusCode::kInvalidArgument, absl::StatusCode::kUnimplemented}) {
    server_.check_ins = {absl::Status(code, "no")};
    EXPECT_THAT(Run(), StatusIs(code));
  }
  EXPECT_EQ(clock_.Now(), absl::UnixEpoch()) << "without waiting";
}

TEST_F(SessionTest, LosingAccessInMidWorkEndsIt) {
  Give(WorkKind::kTrain, 1);
  server_.upload_answer_fault = [](int64_t) { return absl::UnauthenticatedError("revoked"); };
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnauthenticated));
}

TEST_F(SessionTest, SurvivesABreakAtEveryChunkOfBothTransfers) {
  server_.fetch_fault = [](int64_t call, int64_t) {
    return call % 2 == 0 ? absl::UnavailableError("broken") : absl::OkStatus();
  };
  server_.upload_fault = [](int64_t call, int64_t) {
    return call % 4 == 0 ? ChunkFate::kLost : ChunkFate::kStored;
  };
  Give(WorkKind::kTrain, 1);
  EXPECT_THAT(Run(), IsOk());
  EXPECT_TRUE(server_.uploads.at(1).accepted);
  EXPECT_EQ(trainer_.trained, 1);
}

TEST_F(SessionTest, ATransferThatTheServerCannotServeIsGivenBack) {
  server_.check_ins.push_back(MakeOrder(WorkKind::kTrain, 1, /*version=*/8));
  Give(WorkKind::kTrain, 2);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_EQ(server_.abandoned[0].work_order, 1);
  EXPECT_EQ(server_.abandoned[0].reason, AbandonReason::kOther);
  EXPECT_THAT(server_.abandoned[0].message, HasSubstr("no such version"));
  EXPECT_TRUE(server_.uploads.at(2).accepted);
}

TEST_F(SessionTest, AnUnknownCodecIsGivenBackWithItsName) {
  WorkOrder order = MakeOrder(WorkKind::kTrain, 1, 3);
  order.codec_json = R"([{"fp17":{}}])";
  server_.check_ins.push_back(order);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_THAT(server_.abandoned[0].message, HasSubstr("fp17"));
  EXPECT_EQ(trainer_.trained, 0);
}

// --- The trainer

TEST_F(SessionTest, ATrainersErrorIsReportedAndTheClientGoesOnAfterAPause) {
  int failures = 3;
  trainer_.on_train = [&](const TrainTask&, ParamVector&) -> absl::StatusOr<TrainResult> {
    if (failures-- > 0) return absl::InternalError("out of memory");
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  for (WorkOrderId id = 1; id <= 4; ++id) Give(WorkKind::kTrain, id);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(3));
  for (const AbandonNotice& notice : server_.abandoned) {
    EXPECT_EQ(notice.reason, AbandonReason::kTrainerFailed);
    EXPECT_EQ(notice.job, JobId("job-1"));
    EXPECT_THAT(notice.message, HasSubstr("out of memory"));
  }
  EXPECT_EQ(server_.enrol_calls, 1) << "nothing was wrong with the server";
  EXPECT_TRUE(server_.uploads.at(4).accepted);
}

TEST_F(SessionTest, FailuresSlowTheClientDown) {
  trainer_.on_train = [](const TrainTask&, ParamVector&) -> absl::StatusOr<TrainResult> {
    return absl::InternalError("broken for good");
  };
  for (WorkOrderId id = 1; id <= 30; ++id) Give(WorkKind::kTrain, id);
  EXPECT_THAT(Run(), IsOk());
  EXPECT_GT(clock_.Now() - absl::UnixEpoch(), absl::Minutes(5) + absl::Minutes(3));
}

TEST_F(SessionTest, ValuesThatAreNotFiniteAreNotSent) {
  trainer_.on_train = [](const TrainTask&, ParamVector& model) -> absl::StatusOr<TrainResult> {
    model.View("w")[7] = std::numeric_limits<float>::quiet_NaN();
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  Give(WorkKind::kTrain, 1);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_EQ(server_.abandoned[0].reason, AbandonReason::kDiverged);
  EXPECT_THAT(server_.abandoned[0].message, HasSubstr("diverged"));
  EXPECT_THAT(server_.uploads, IsEmpty());
}

TEST_F(SessionTest, AnotherLayoutIsNotSent) {
  trainer_.on_train = [](const TrainTask&, ParamVector& model) -> absl::StatusOr<TrainResult> {
    model = ParamVector(FlatLayout(25));
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  Give(WorkKind::kTrain, 1);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_THAT(server_.abandoned[0].message, HasSubstr("layout"));
}

TEST_F(SessionTest, AFirstModelMustHaveValues) {
  trainer_.on_initial_model = [](const JobInfo&, uint64_t) { return ParamVector(); };
  Give(WorkKind::kInitialise, 1);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_EQ(server_.abandoned[0].reason, AbandonReason::kTrainerFailed);
}

TEST_F(SessionTest, ARefusedUpdateIsToldAndNotRepeated) {
  server_.upload_verdict = UploadAnswer{.state = UploadAnswer::State::kRefused,
                                        .refusal = "wrong_layout",
                                        .message = "not this job's"};
  Give(WorkKind::kTrain, 1);
  EXPECT_THAT(Run(), IsOk());
  ASSERT_NE(FindEvent(Kind::kRefused), nullptr);
  EXPECT_EQ(FindEvent(Kind::kRefused)->message, "wrong_layout: not this job's");
  EXPECT_EQ(server_.upload_calls, 1);
  EXPECT_THAT(server_.abandoned, IsEmpty());
}

// --- Unwanted work

TEST_F(SessionTest, WithdrawnWorkStopsTheTrainerAndIsNotGivenBack) {
  server_.on_progress = [] { return false; };
  trainer_.on_train = [](const TrainTask& task, ParamVector&) -> absl::StatusOr<TrainResult> {
    if (task.work_order == 2) return TrainResult{.num_examples = 1, .local_steps = 1};
    std::latch stopped(1);
    const std::stop_callback on_stop(task.stop, [&] { stopped.count_down(); });
    stopped.wait();
    return absl::CancelledError("stopped");
  };
  WorkOrder order = MakeOrder(WorkKind::kTrain, 1, 3);
  order.liveness = absl::Milliseconds(3);
  server_.check_ins.push_back(order);
  Give(WorkKind::kTrain, 2);
  EXPECT_THAT(RunOnce(), IsOk());
  EXPECT_THAT(Kinds(), Contains(Kind::kWithdrawn));
  EXPECT_THAT(server_.abandoned, IsEmpty());
  EXPECT_THAT(server_.uploads, SizeIs(1));
  EXPECT_TRUE(server_.uploads.at(2).accepted) << "RunOnce went on to work that counts";
}

// --- RunOnce

TEST_F(SessionTest, OnceEndsAfterOneOrderOfTraining) {
  Give(WorkKind::kInitialise, 1);
  Give(WorkKind::kEvaluate, 2);
  Give(WorkKind::kTrain, 3);
  Give(WorkKind::kTrain, 4);
  EXPECT_THAT(RunOnce(), IsOk());
  EXPECT_TRUE(server_.uploads.at(3).accepted);
  EXPECT_THAT(server_.check_ins, SizeIs(1));
}

TEST_F(SessionTest, OnceEndsAfterOneEvaluationForAnEvaluator) {
  options_.evaluate_only = true;
  Give(WorkKind::kEvaluate, 1);
  Give(WorkKind::kEvaluate, 2);
  EXPECT_THAT(RunOnce(), IsOk());
  EXPECT_THAT(server_.reports, SizeIs(1));
}

TEST_F(SessionTest, OnceTellsWhatWentWrong) {
  options_.once_limit = absl::Minutes(2);
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("2m")));

  Give(WorkKind::kTrain, 1);
  trainer_.on_train = [](const TrainTask&, ParamVector&) -> absl::StatusOr<TrainResult> {
    return absl::InternalError("out of memory");
  };
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kInternal, HasSubstr("out of memory")));

  trainer_.on_train = nullptr;
  server_.upload_verdict = UploadAnswer{.state = UploadAnswer::State::kRefused, .refusal = "x"};
  Give(WorkKind::kTrain, 2);
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kFailedPrecondition));

  for (int i = 0; i < 1000; ++i) server_.enrolments.push_back(absl::UnavailableError("refused"));
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(SessionTest, OnceGivesUpATransferAfterItsLimit) {
  options_.once_limit = absl::Minutes(2);
  server_.fetch_fault = [](int64_t, int64_t) { return absl::UnavailableError("broken"); };
  Give(WorkKind::kTrain, 1);
  EXPECT_THAT(RunOnce(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LE(clock_.Now() - absl::UnixEpoch(), absl::Minutes(3));
}

// --- Stopping

TEST_F(SessionTest, AStopAtAnyMomentGivesTheWorkBackAndEnds) {
  server_.check_ins.push_back(server_.no_work);
  Give(WorkKind::kInitialise, 1);
  Give(WorkKind::kTrain, 2);
  Give(WorkKind::kEvaluate, 3);
  const auto script = server_.check_ins;
  EXPECT_THAT(Run(), IsOk());
  const auto last = std::find_if(events_.rbegin(), events_.rend(),
                                 [](const ClientEvent& e) { return e.kind == Kind::kAccepted; });
  const auto moments = static_cast<size_t>(events_.rend() - last);
  ASSERT_GT(moments, 30);

  for (size_t moment = 0; moment < moments; ++moment) {
    events_.clear();
    FakeServer server;
    server.check_ins = script;
    server.models[3] = RandomParams(layout_, 33);
    std::stop_source stop;
    on_event_ = [&](const ClientEvent&) {
      if (events_.size() == moment + 1) stop.request_stop();
    };
    Session session(options_, &trainer_, &server, &clock_, stop.get_token());
    ASSERT_THAT(session.Run(), StatusIs(absl::StatusCode::kCancelled)) << "moment " << moment;

    // Every order that was received either came to its end or was given back.
    size_t received = 0, ended = 0;
    for (const Kind kind : Kinds()) {
      received += kind == Kind::kWorkReceived;
      ended += kind == Kind::kAccepted;
    }
    ASSERT_EQ(received, ended + server.abandoned.size()) << "moment " << moment;
    for (const AbandonNotice& notice : server.abandoned) {
      ASSERT_EQ(notice.reason, AbandonReason::kStopped);
    }
  }
}

TEST_F(SessionTest, AStopReachesTheTrainer) {
  Give(WorkKind::kTrain, 1);
  trainer_.on_train = [&](const TrainTask& task, ParamVector&) -> absl::StatusOr<TrainResult> {
    EXPECT_FALSE(task.stop.stop_requested());
    stop_.request_stop();
    EXPECT_TRUE(task.stop.stop_requested());
    return TrainResult{.num_examples = 1, .local_steps = 1};
  };
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(server_.uploads, IsEmpty()) << "a result that came too late is not sent";
  ASSERT_THAT(server_.abandoned, SizeIs(1));
  EXPECT_EQ(server_.abandoned[0].reason, AbandonReason::kStopped);
}

}  // namespace
}  // namespace tributary::sdk
