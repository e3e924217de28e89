#include "server/live/live_host.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/server/live/live_fixture.h"

namespace tributary::test {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLiveness = absl::Minutes(5);  // the spec's default

class LiveHostTest : public ::testing::Test {
 protected:
  LiveHostTest() { fixture_.Start(); }

  FakeClient Client(const std::string& name, bool evaluate_only = false) {
    FakeClient client(&fixture_, name, evaluate_only);
    EXPECT_THAT(client.Enroll(), IsOk());
    return client;
  }
  ParamVector Model(const JobId& job, Version version) {
    return *fixture_.store().LoadModel(job, version);
  }

  LiveFixture fixture_;
};

TEST_F(LiveHostTest, RoundsAreCombinedExactly) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId job = fixture_.Submit("demo", 2, 3, {0, 0, 0, 0});
  EXPECT_EQ(job.value(), "demo-1");
  for (Version version = 0; version < 3; ++version) {
    a.CheckIn();
    const auto work_b = b.GetWork(), work_a = a.GetWork();
    ASSERT_TRUE(work_a && work_b);
    EXPECT_EQ(work_a->order.version, version);
    EXPECT_EQ(work_a->job_name, "demo");
    EXPECT_TRUE(Accepted(a.UploadDelta(*work_a, 1)));
    EXPECT_TRUE(Accepted(b.UploadDelta(*work_b, 3)));
  }
  const JobView view = fixture_.Job(job);
  EXPECT_EQ(view.progress.state, JobState::kDone);
  EXPECT_EQ(view.record.state, "done");
  EXPECT_EQ(view.progress.updates, 6);
  EXPECT_EQ(view.uplink_bytes_dense, 6u * 16);
  EXPECT_THAT(Model(job, 3), ParamsNear({6, 6, 6, 2}, 0));
  EXPECT_EQ(fixture_.host().GetClient(a.id())->record.updates, 3);
  EXPECT_EQ(fixture_.store().GetJob(job)->state, "done");
}

TEST_F(LiveHostTest, AnIdleClientIsHeardOfAgainWhenItsDataAreOfALaterTask) {
  FakeClient a = Client("a"), b = Client("b"), c = Client("c");
  const JobId job = fixture_.Submit("demo", 2, 100, {0, 0, 0, 0},
                                    {{"continual", {{"tasks", 2}, {"reported_share", 0.3}}}});
  a.CheckIn();
  ASSERT_TRUE(b.GetWork() && a.GetWork());
  const auto heard = [&] {
    const std::vector<std::string> journal = *fixture_.store().ReadJournal(job);
    return std::count_if(journal.begin(), journal.end(), [](const std::string& line) {
      return absl::StrContains(line, "client_available") && absl::StrContains(line, "\"c\"");
    });
  };
  c.CheckIn();
  c.CheckIn();
  EXPECT_EQ(heard(), 1) << "nothing new";
  c.task = 1;
  c.CheckIn();
  EXPECT_EQ(heard(), 2);
  EXPECT_EQ(fixture_.Job(job).progress.task, 1) << "1 of 3";
  EXPECT_EQ(fixture_.Lost(job, "abandoned"), 0) << "what is called back is not lost";

  fixture_.Crash();
  fixture_.Start();
  EXPECT_EQ(fixture_.Job(job).progress.task, 1);
  c.CheckIn();
  EXPECT_EQ(heard(), 2) << "the job knows it from its journal";
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport made, fixture_.Export(job));
  EXPECT_THAT(made.events, HasSoundDigests());
  EXPECT_THAT(made.events, ::testing::HasSubstr("\"task\":1"));
}

TEST_F(LiveHostTest, AVersionWaitsForALockedStoreAndNobodyWaitsForIt) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  const JobId other = fixture_.Submit("other", 1, 1, {0, 0, 0, 0});
  const auto other_work = b.GetWork();
  ASSERT_TRUE(other_work);
  fixture_.store().locked = 1;
  ASSERT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  EXPECT_EQ(fixture_.Job(job).progress.version, 0);
  ASSERT_TRUE(Accepted(b.UploadDelta(*other_work, 1)));
  EXPECT_EQ(fixture_.Job(other).progress.state, JobState::kDone) << "the lane is free";
  EXPECT_EQ(fixture_.Job(job).progress.version, 0);
  fixture_.Advance(absl::Seconds(1));
  EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kDone);
  EXPECT_THAT(Model(job, 1), ParamsNear({1, 1, 1, 1}, 0));
}

TEST_F(LiveHostTest, AStoreThatStaysLockedFailsTheJob) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  fixture_.store().locked = 1000;
  ASSERT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  for (int i = 0; i < 8; ++i) fixture_.Advance(absl::Seconds(1));
  EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kRunning);
  fixture_.Advance(absl::Seconds(1));
  EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kFailed);
  EXPECT_THAT(fixture_.Job(job).progress.reason, ::testing::HasSubstr("locked"));
  EXPECT_EQ(fixture_.store().locked, 1000 - 10);
}

TEST_F(LiveHostTest, AVersionThatWaitsForTheStoreDoesNotHoldUpTheShutdown) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  fixture_.store().locked = 1;
  ASSERT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  bool drained = false;
  fixture_.host().Drain([&] { drained = true; });
  fixture_.Run();
  EXPECT_TRUE(drained);
  fixture_.Crash();
  fixture_.Start();
  fixture_.Run();
  EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kDone);
  EXPECT_THAT(Model(job, 1), ParamsNear({1, 1, 1, 1}, 0));
}

TEST_F(LiveHostTest, AClientThatHoldsAVersionIsSentTheDeltaSince) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 3, {0, 0, 0, 0},
                                    {{"downlink", {{"codec", {{{"topk", {{"count", 1}}}}}}}}});
  for (Version version = 0; version < 2; ++version) {
    const auto work = a.GetWork();
    ASSERT_TRUE(work);
    EXPECT_THAT(work->downlink_json, HasSubstr(R"({"codec":[{"topk":)"));
    EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  }
  const auto open = [&](const std::optional<HeldVersion>& held) {
    LiveHost::ReaderPtr reader;
    fixture_.host().OpenModel(
        a.id(), job, 2, held,
        [&](absl::StatusOr<LiveHost::ReaderPtr> opened) { reader = *opened; });
    EXPECT_TRUE(fixture_.Run());
    return reader;
  };
  EXPECT_THAT(open(std::nullopt)->deltas(), ::testing::IsEmpty());
  const Digest held = Model(job, 1).ComputeDigest();
  EXPECT_THAT(open(HeldVersion{1, held})->deltas(), ::testing::SizeIs(1));
  EXPECT_LT(open(HeldVersion{1, held})->size_bytes(), 16U);
  EXPECT_THAT(open(HeldVersion{0, held})->deltas(), ::testing::IsEmpty()) << "not that version";
}

TEST_F(LiveHostTest, AClientMakesTheFirstModel) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  ASSERT_EQ(work->order.kind, WorkKind::kInitialise);
  const float values[] = {1, 2, 3, 4};
  const std::string payload(reinterpret_cast<const char*>(values), sizeof(values));
  EXPECT_TRUE(Accepted(a.Upload(a.Header(*work, payload), payload)));
  EXPECT_THAT(Model(job, 0), ParamsNear({1, 2, 3, 4}, 0));
  EXPECT_EQ(Model(job, 0).layout()->digest(), a.layout->digest());
  const auto train = a.GetWork();
  ASSERT_TRUE(train);
  EXPECT_EQ(train->order.kind, WorkKind::kTrain);
}

TEST_F(LiveHostTest, ALongPollIsHeldUntilThereIsWork) {
  FakeClient a = Client("a");
  a.CheckIn(absl::Seconds(20));
  EXPECT_FALSE(a.answer);
  EXPECT_EQ(fixture_.host().GetClient(a.id())->state, "idle");
  fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  ASSERT_TRUE(a.answer);
  EXPECT_TRUE(std::holds_alternative<WorkItem>(**a.answer));
  EXPECT_EQ(fixture_.host().GetClient(a.id())->state, "working");
}

TEST_F(LiveHostTest, ALongPollEndsWithARetryWindow) {
  FakeClient a = Client("a");
  a.CheckIn(absl::Seconds(20));
  fixture_.Advance(absl::Seconds(19));
  EXPECT_FALSE(a.answer);
  fixture_.Advance(absl::Seconds(1));
  ASSERT_TRUE(a.answer);
  const auto& retry = std::get<RetryWindow>(**a.answer);
  EXPECT_GT(retry.min_delay, absl::ZeroDuration());
  EXPECT_GE(retry.max_delay, retry.min_delay);
}

TEST_F(LiveHostTest, OnlyTheNewestPollOfAClientIsHeld) {
  FakeClient a = Client("a");
  std::optional<absl::StatusOr<CheckInAnswer>> first;
  fixture_.host().CheckIn(a.id(), absl::Seconds(20), {},
                          [&](absl::StatusOr<CheckInAnswer> answer) { first = answer; });
  a.CheckIn(absl::Seconds(20));
  ASSERT_TRUE(first);
  EXPECT_TRUE(std::holds_alternative<RetryWindow>(**first));
  EXPECT_FALSE(a.answer);
}

TEST_F(LiveHostTest, AnOrderWhoseAnswerWasLostIsGivenAgain) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto first = a.GetWork(), again = a.GetWork();
  ASSERT_TRUE(first && again);
  EXPECT_EQ(first->order.id, again->order.id);
  EXPECT_TRUE(fixture_.Job(job).progress.lost.empty());
}

TEST_F(LiveHostTest, AConfirmedOrderIsLostWhenItsClientIsIdleAgain) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto first = a.GetWork();
  ASSERT_TRUE(first);
  EXPECT_THAT(a.Progress(*first), IsOkAndHolds(true));
  const auto next = a.GetWork();
  ASSERT_TRUE(next);
  EXPECT_NE(first->order.id, next->order.id);
  EXPECT_EQ(fixture_.Lost(job, "abandoned"), 1);
  EXPECT_THAT(a.Progress(*first), IsOkAndHolds(false));
}

TEST_F(LiveHostTest, ASilentClientIsLostAndReplaced) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  fixture_.Advance(kLiveness - absl::Seconds(10));
  EXPECT_THAT(a.Progress(*work), IsOkAndHolds(true));
  fixture_.Advance(kLiveness - absl::Seconds(10));
  EXPECT_EQ(fixture_.Lost(job, "timed_out"), 0);
  fixture_.Advance(absl::Seconds(11));
  EXPECT_EQ(fixture_.Lost(job, "timed_out"), 1);
  const auto replacement = b.GetWork();
  ASSERT_TRUE(replacement);
  EXPECT_TRUE(Accepted(b.UploadDelta(*replacement, 2)));
  EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kDone);
  EXPECT_EQ(RefusedFor(a.UploadDelta(*work, 1)), Refusal::kUnknownWorkOrder);
  fixture_.Advance(absl::Seconds(30));
  EXPECT_EQ(fixture_.host().GetClient(a.id())->state, "away");
}

TEST_F(LiveHostTest, AnAbandonedOrderIsLostOnce) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  for (int i = 0; i < 2; ++i) {
    absl::Status status = absl::UnknownError("no answer");
    fixture_.host().AbandonWork(a.id(), job, work->order.id, LossCause::kAbandoned, "stopped",
                                [&](const absl::Status& s) { status = s; });
    fixture_.Run();
    EXPECT_THAT(status, IsOk());
  }
  EXPECT_EQ(fixture_.Lost(job, "abandoned"), 1);
}

// ---- bad updates: an error and a counter, never the round ------------------------------

struct BadUpdate {
  const char* name;
  const char* counter;
  Refusal refusal;
  void (*spoil)(UploadHeader& header, std::string& payload);
};

class BadUpdateTest : public LiveHostTest, public ::testing::WithParamInterface<BadUpdate> {};

TEST_P(BadUpdateTest, IsRefusedAndCountedAndTheRoundGoesOn) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  std::string payload = RawPayload(a.layout, 1);
  UploadHeader header = a.Header(*work, payload);
  GetParam().spoil(header, payload);
  const auto answer = a.Upload(header, payload);
  EXPECT_EQ(RefusedFor(answer), GetParam().refusal);
  EXPECT_FALSE((*answer)->message.empty());
  EXPECT_EQ(fixture_.Lost(job, GetParam().counter), 1);
  const auto next = a.GetWork();
  ASSERT_TRUE(next);
  EXPECT_TRUE(Accepted(a.UploadDelta(*next, 2)));
  EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kDone);
  EXPECT_THAT(Model(job, 1), ParamsNear({2, 2, 2, 2}, 0));
}

void Repeat(UploadHeader& header, const std::string& payload) {
  Xxh3Stream hash;
  hash.Update(payload);
  header.checksum = hash.Value();
  header.total_bytes = payload.size();
}

INSTANTIATE_TEST_SUITE_P(
    Causes, BadUpdateTest,
    ::testing::Values(BadUpdate{"not_a_number", "not_finite", Refusal::kNotFinite,
                                [](UploadHeader& h, std::string& p) {
                                  p = RawPayload(FlatLayout(3, 1),
                                                 std::numeric_limits<float>::quiet_NaN());
                                  Repeat(h, p);
                                }},
                      BadUpdate{"no_models", "not_finite", Refusal::kNotFinite,
                                [](UploadHeader& h, std::string& p) {
                                  p = RawPayload(FlatLayout(3, 1), -1e30F);
                                  Repeat(h, p);
                                }},
                      BadUpdate{"infinite_loss", "not_finite", Refusal::kNotFinite,
                                [](UploadHeader& h, std::string&) {
                                  h.info.loss = std::numeric_limits<double>::infinity();
                                }},
                      BadUpdate{"other_layout", "wrong_layout", Refusal::kWrongLayout,
                                [](UploadHeader& h, std::string&) {
                                  h.layout_digest = FlatLayout(4)->digest().ToBytes();
                                }},
                      BadUpdate{"too_short", "wrong_layout", Refusal::kWrongLayout,
                                [](UploadHeader& h, std::string& p) {
                                  p.resize(p.size() - 4);
                                  Repeat(h, p);
                                }},
                      BadUpdate{"other_base", "wrong_layout", Refusal::kWrongLayout,
                                [](UploadHeader& h, std::string&) { h.info.base_version = 7; }},
                      BadUpdate{"no_examples", "bad_weight", Refusal::kBadWeight,
                                [](UploadHeader& h, std::string&) { h.info.num_examples = 0; }},
                      BadUpdate{"endless_steps", "bad_weight", Refusal::kBadWeight,
                                [](UploadHeader& h, std::string&) {
                                  h.info.local_steps = std::numeric_limits<int64_t>::max();
                                }},
                      BadUpdate{"other_bytes", "corrupt", Refusal::kCorrupt,
                                [](UploadHeader& h, std::string&) { h.checksum.low ^= 1; }},
                      BadUpdate{"too_large", "too_large", Refusal::kTooLarge,
                                [](UploadHeader& h, std::string&) {
                                  h.total_bytes = uint64_t{1} << 40;
                                }}),
    [](const auto& tested) { return tested.param.name; });

// ---- uploads ---------------------------------------------------------------------------

TEST_F(LiveHostTest, ARepeatedUploadIsCountedOnce) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId job = fixture_.Submit("demo", 2, 1, {0, 0, 0, 0});
  a.CheckIn();
  const auto work_b = b.GetWork(), work_a = a.GetWork();
  ASSERT_TRUE(work_a && work_b);
  EXPECT_TRUE(Accepted(a.UploadDelta(*work_a, 1)));
  EXPECT_TRUE(Accepted(a.UploadDelta(*work_a, 1)));
  EXPECT_TRUE(Accepted(b.UploadDelta(*work_b, 3)));
  EXPECT_TRUE(Accepted(a.UploadDelta(*work_a, 1)));  // the job has ended meanwhile
  EXPECT_EQ(fixture_.Job(job).progress.updates, 2);
  EXPECT_THAT(Model(job, 1), ParamsNear({2, 2, 2, 2}, 0));
  EXPECT_EQ(RefusedFor(b.UploadDelta(*work_a, 3)), Refusal::kUnknownWorkOrder);
}

TEST_F(LiveHostTest, ABrokenUploadGoesOnWhereItStopped) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  const std::string payload = RawPayload(a.layout, 2);
  const UploadHeader header = a.Header(*work, payload);
  const auto partial = a.Upload(header, payload, 10);
  ASSERT_TRUE(partial && partial->ok());
  EXPECT_EQ((*partial)->state, UploadAnswer::State::kPartial);
  EXPECT_EQ((*partial)->durable_bytes, 10u);
  const auto asked = a.Upload(header, payload, 0);  // the header alone
  EXPECT_EQ((*asked)->durable_bytes, 10u);
  EXPECT_TRUE(Accepted(a.Upload(header, payload)));  // what is there already is skipped
  EXPECT_THAT(Model(job, 1), ParamsNear({2, 2, 2, 2}, 0));
}

TEST_F(LiveHostTest, WhatIsNotFiniteIsRefusedHoweverItCame) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  std::string payload = RawPayload(a.layout, 2);
  payload.replace(0, sizeof(float), std::string("\0\0\x80\x7f", 4));  // an infinity
  std::vector<std::string> messages;
  enum class Way { kAtOnce, kInTwoParts, kInTwoPartsWithARestart };
  for (const Way way : {Way::kAtOnce, Way::kInTwoParts, Way::kInTwoPartsWithARestart}) {
    const auto work = a.GetWork();
    ASSERT_TRUE(work);
    const UploadHeader header = a.Header(*work, payload);
    if (way != Way::kAtOnce) {
      const auto partial = a.Upload(header, payload, 10);
      ASSERT_TRUE(partial && partial->ok());
      EXPECT_EQ((*partial)->durable_bytes, 10u);
    }
    if (way == Way::kInTwoPartsWithARestart) {
      fixture_.Crash();
      fixture_.Start();
    }
    const auto answer = a.Upload(header, payload);
    ASSERT_EQ(RefusedFor(answer), Refusal::kNotFinite);
    messages.push_back((*answer)->message);
  }
  EXPECT_THAT(messages, ::testing::Each(messages[0]));
  EXPECT_EQ(fixture_.Lost(job, "not_finite"), 3);
}

TEST_F(LiveHostTest, AChunkMustFitAndMatchItsChecksum) {
  FakeClient a = Client("a");
  fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  const std::string payload = RawPayload(a.layout, 2);
  std::shared_ptr<UploadStream> stream;
  const auto open = [&] {
    fixture_.host().OpenUpload(
        a.Header(*work, payload),
        [&](absl::StatusOr<LiveHost::OpenedUpload> opened) { stream = opened->stream; });
    fixture_.Run();
  };
  const auto append = [&](uint64_t offset, const std::string& data, uint64_t xxh3) {
    absl::Status result = absl::UnknownError("no answer");
    stream->Append(offset, data, xxh3, [&](const absl::Status& status) { result = status; });
    fixture_.Run();
    return result;
  };
  open();
  const auto old = stream;
  EXPECT_THAT(append(0, "abcd", Xxh3("abcd") + 1), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(append(4, "abcd", Xxh3("abcd")),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("go on at 0")));
  const std::string long_chunk(payload.size() + 1, 'x');
  EXPECT_THAT(append(0, long_chunk, Xxh3(long_chunk)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  open();
  EXPECT_THAT(append(0, "abcd", Xxh3("abcd")), IsOk());
  stream = old;
  EXPECT_THAT(append(0, "abcd", Xxh3("abcd")), StatusIs(absl::StatusCode::kAborted));
}

// ---- evaluation ------------------------------------------------------------------------

TEST_F(LiveHostTest, EvaluatorsAreAskedAndCountedOnce) {
  FakeClient trainer = Client("t"), evaluator = Client("e", true);
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto first = evaluator.GetWork();
  ASSERT_TRUE(first);
  EXPECT_EQ(first->order.kind, WorkKind::kEvaluate);
  EXPECT_EQ(first->order.version, 0);
  for (int i = 0; i < 2; ++i) {
    const auto report = evaluator.Report(*first, 2.0, 0.25, 100);
    ASSERT_TRUE(report && report->ok());
    EXPECT_TRUE((*report)->counted);
  }
  const auto work = trainer.GetWork();
  ASSERT_TRUE(work);
  EXPECT_TRUE(Accepted(trainer.UploadDelta(*work, 1)));
  const auto second = evaluator.GetWork();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->order.version, 1);
  EXPECT_FALSE((*evaluator.Report(*second, 1.0, 0.5, 0))->counted);  // no examples
  EXPECT_EQ(fixture_.Lost(job, "bad_weight"), 1);
  EXPECT_EQ(fixture_.Job(job).progress.evaluation.version, 0);
  EXPECT_EQ(fixture_.store().GetVersion(job, 0)->evaluation->accuracy, 0.25);
}

// ---- several jobs, commands ------------------------------------------------------------

TEST_F(LiveHostTest, TwoJobsShareTheClients) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId one = fixture_.Submit("one", 1, 2, {0, 0, 0, 0});
  const JobId two = fixture_.Submit("two", 1, 2, {0, 0, 0, 0});
  for (int turn = 0; turn < 2; ++turn) {
    a.CheckIn();
    const auto work_b = b.GetWork(), work_a = a.GetWork();
    ASSERT_TRUE(work_a && work_b);
    EXPECT_NE(work_a->job, work_b->job);
    EXPECT_TRUE(Accepted(a.UploadDelta(*work_a, 1)));
    EXPECT_TRUE(Accepted(b.UploadDelta(*work_b, 1)));
  }
  for (const JobId& job : {one, two}) {
    EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kDone);
    EXPECT_THAT(Model(job, 2), ParamsNear({2, 2, 2, 1}, 0));
    EXPECT_TRUE(fixture_.Job(job).progress.lost.empty());
  }
}

TEST_F(LiveHostTest, AClientThatLeavesIsGoneForTheJobs) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId job = fixture_.Submit("demo", 2, 1, {0, 0, 0, 0});
  a.CheckIn();
  fixture_.Advance(absl::Seconds(40));
  EXPECT_EQ(fixture_.host().GetClient(a.id())->state, "away");
  b.CheckIn(absl::Seconds(20));
  EXPECT_FALSE(b.answer);  // one client is too few for a round
  a.CheckIn();
  EXPECT_TRUE(b.answer);
  EXPECT_EQ(fixture_.Job(job).progress.in_flight, 2);
}

TEST_F(LiveHostTest, PauseResumeCancel) {
  using Verb = event::Command::Verb;
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 5, {0, 0, 0, 0});
  const auto command = [&](Verb verb) {
    absl::StatusOr<JobView> result = absl::UnknownError("no answer");
    fixture_.host().Command(job, verb, [&](absl::StatusOr<JobView> view) { result = view; });
    fixture_.Run();
    return result;
  };
  EXPECT_EQ(command(Verb::kPause)->record.state, "paused");
  EXPECT_EQ(command(Verb::kPause)->record.state, "paused");
  EXPECT_FALSE(a.GetWork());
  EXPECT_EQ(command(Verb::kResume)->record.state, "running");
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  EXPECT_EQ(command(Verb::kCancel)->record.state, "cancelled");
  EXPECT_THAT(a.Progress(*work), IsOkAndHolds(false));
  EXPECT_EQ(RefusedFor(a.UploadDelta(*work, 1)), Refusal::kUnknownWorkOrder);
  EXPECT_THAT(command(Verb::kCancel), IsOk());
  EXPECT_THAT(command(Verb::kResume), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(LiveHostTest, ASubmissionIsIdempotentByItsRequestId) {
  const JobId first = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  EXPECT_EQ(fixture_.Submit("demo", 1, 1, {0, 0, 0, 0}), first);
  EXPECT_EQ(fixture_.host().ListJobs().size(), 1u);
}

TEST_F(LiveHostTest, WatchersAreToldOfChanges) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 1, {0, 0, 0, 0});
  int changes = 0;
  const auto watcher = fixture_.host().Watch(job, [&] { ++changes; });
  ASSERT_THAT(watcher, IsOk());
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  EXPECT_GT(changes, 0);
  fixture_.host().Unwatch(job, *watcher);
  changes = 0;
  EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  EXPECT_EQ(changes, 0);
}

TEST_F(LiveHostTest, StrangersAndUnknownJobsAreRefused) {
  FakeClient stranger(&fixture_, "stranger");
  stranger.CheckIn();
  ASSERT_TRUE(stranger.answer);
  EXPECT_THAT(*stranger.answer, StatusIs(absl::StatusCode::kFailedPrecondition));
  FakeClient a = Client("a");
  WorkItem item{.job = JobId("nothing-1")};
  EXPECT_THAT(a.Progress(item), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(*a.UploadDelta(item, 1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(fixture_.host().GetJob(item.job), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(LiveHostTest, DrainingAnswersHeldPollsAndTakesNothingNew) {
  FakeClient a = Client("a");
  a.CheckIn(absl::Seconds(20));
  bool drained = false;
  EXPECT_THAT(fixture_.host().Ready(), IsOk());
  fixture_.host().Drain([&] { drained = true; });
  EXPECT_TRUE(a.answer);
  EXPECT_THAT(fixture_.host().Ready(), StatusIs(absl::StatusCode::kUnavailable));
  fixture_.Run();
  EXPECT_TRUE(drained);
  a.CheckIn(absl::Seconds(20));
  EXPECT_TRUE(a.answer);
  EXPECT_THAT(a.Enroll(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(LiveHostTest, AStandingLoopIsNotReady) {
  fixture_.clock().AdvanceBy(absl::Seconds(30));
  EXPECT_THAT(fixture_.host().Ready(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("event loop")));
  fixture_.Run();
  EXPECT_THAT(fixture_.host().Ready(), IsOk());
}

// ---- participation: who is not wanted yet stays away ------------------------------------

TEST_F(LiveHostTest, AClientThatMustRestIsToldForHowLong) {
  FakeClient a = Client("a");
  const JobId job = fixture_.Submit("demo", 1, 5, {0, 0, 0, 0},
                                    {{"participation", {{"min_interval_seconds", 100}}}});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  ASSERT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  fixture_.Advance(absl::Seconds(10));
  a.CheckIn(absl::Seconds(20));
  ASSERT_TRUE(a.answer) << "held";
  const auto& retry = std::get<RetryWindow>(**a.answer);
  EXPECT_EQ(retry.min_delay, absl::Seconds(90));
  EXPECT_EQ(retry.max_delay, absl::Seconds(91));
  fixture_.Advance(absl::Seconds(90));
  EXPECT_EQ(fixture_.Job(job).progress.in_flight, 0) << "an order for a client that is away";
  EXPECT_TRUE(a.GetWork());
}

TEST_F(LiveHostTest, OutsideTheWindowsEverybodyStaysAway) {
  // The clock begins at 13:46:40 UTC.
  FakeClient a = Client("a"), evaluator = Client("e", /*evaluate_only=*/true);
  const nlohmann::json windows = {{{"from", "14:00"}, {"to", "15:00"}}};
  fixture_.Submit("demo", 1, 5, {0, 0, 0, 0}, {{"participation", {{"windows", windows}}}});
  a.CheckIn(absl::Seconds(20));
  ASSERT_TRUE(a.answer);
  EXPECT_EQ(std::get<RetryWindow>(**a.answer).min_delay, absl::Seconds(800));
  EXPECT_TRUE(evaluator.GetWork()) << "windows are for training";
  fixture_.Advance(absl::Seconds(800));
  EXPECT_TRUE(a.GetWork());
}

TEST_F(LiveHostTest, TheEarliestOfTheJobsCounts) {
  FakeClient a = Client("a");
  const auto window = [](const char* from) {
    return nlohmann::json{{"participation", {{"windows", {{{"from", from}, {"to", "23:00"}}}}}}};
  };
  fixture_.Submit("late", 1, 5, {0, 0, 0, 0}, window("14:10"));
  fixture_.Submit("early", 1, 5, {0, 0, 0, 0}, window("13:50"));
  a.CheckIn(absl::Seconds(20));
  ASSERT_TRUE(a.answer);
  EXPECT_EQ(std::get<RetryWindow>(**a.answer).min_delay, absl::Seconds(200));
  fixture_.Submit("now", 1, 5, {0, 0, 0, 0});
  EXPECT_TRUE(a.GetWork());
}

TEST_F(LiveHostTest, NobodyStaysAwayForLongerThanTheLimit) {
  FakeClient a = Client("a");
  const nlohmann::json windows = {{{"from", "12:00"}, {"to", "13:00"}}};
  fixture_.Submit("demo", 1, 5, {0, 0, 0, 0}, {{"participation", {{"windows", windows}}}});
  a.CheckIn(absl::Seconds(20));
  ASSERT_TRUE(a.answer);
  EXPECT_EQ(std::get<RetryWindow>(**a.answer).min_delay, absl::Hours(1));
}

TEST_F(LiveHostTest, TheFirstModelIsMadeWhateverTheWindows) {
  FakeClient a = Client("a");
  const nlohmann::json windows = {{{"from", "12:00"}, {"to", "13:00"}}};
  fixture_.Submit("demo", 1, 5, {}, {{"participation", {{"windows", windows}}}});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  EXPECT_EQ(work->order.kind, WorkKind::kInitialise);
}

TEST_F(LiveHostTest, AnEvaluationByEveryoneReachesClientsThatRest) {
  FakeClient a = Client("a");
  const nlohmann::json windows = {{{"from", "12:00"}, {"to", "13:00"}}};
  fixture_.Submit("demo", 1, 5, {0, 0, 0, 0},
                  {{"participation", {{"windows", windows}}}, {"evaluate", {{"by", "everyone"}}}});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  EXPECT_EQ(work->order.kind, WorkKind::kEvaluate);
  ASSERT_TRUE(a.Report(*work, 1, 0.5, 10));
  a.CheckIn(absl::Seconds(20));
  EXPECT_TRUE(a.answer) << "and then they are sent away";
}

TEST_F(LiveHostTest, AnOpeningWindowIsSpreadWithTheFleet) {
  const nlohmann::json windows = {{{"from", "14:00"}, {"to", "15:00"}}};
  fixture_.Submit("demo", 1, 5, {0, 0, 0, 0}, {{"participation", {{"windows", windows}}}});
  FakeClient a = Client("a");
  for (int i = 0; i < 999; ++i) Client(absl::StrCat("c", i));
  a.CheckIn(absl::Seconds(20));
  ASSERT_TRUE(a.answer);
  const auto& retry = std::get<RetryWindow>(**a.answer);
  EXPECT_EQ(retry.max_delay - retry.min_delay, absl::Seconds(5.2))  // 1000 at 200 a second
      << retry.max_delay;
}

}  // namespace
}  // namespace tributary::test
