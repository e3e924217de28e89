// What a session keeps from one update to the next and from one process to the next: residuals
// and the outbox.
#include <atomic>
#include <filesystem>
#include <latch>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/internal/session.h"
#include "client_sdk/mocks/fake_trainer.h"
#include "common/clock.h"
#include "common/codec/update_payload.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/fake_server.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::sdk {
namespace {

using ::testing::SizeIs;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;
using Kind = ClientEvent::Kind;

constexpr char kCodec[] = R"([{"fp16":{}}])";

// As a client of one layout and codec would do it by hand: the oracle for residuals.
class Feedback {
 public:
  // What must travel for the delta of FakeTrainer. Taken: the server accepts it.
  std::string Next(const ParamVector& base, uint64_t seed, bool taken = true) {
    ParamVector delta = base.Clone();
    Rng rng(seed);
    for (float& value : delta.values()) value += static_cast<float>(rng.Uniform());
    for (size_t i = 0; i < delta.trainable().size(); ++i) {
      delta.trainable()[i] -= base.trainable()[i];
      if (residual_) delta.trainable()[i] += (*residual_)[i];
    }
    const CodecContext context{.layout = base.layout(), .rng = Rng(seed).Split("codec")};
    std::string payload = EncodeUpdate(*codec_, delta, context);
    const auto decoded =
        codec_->Decode(payload.substr(0, payload.size() - 4 * delta.buffers().size()), context);
    std::vector<float> left(delta.trainable().begin(), delta.trainable().end());
    (*decoded)->AddTo(-1.0F, {0, base.layout()->trainable_size()}, absl::MakeSpan(left));
    if (taken) residual_ = std::move(left);
    return payload;
  }

 private:
  const std::unique_ptr<const Codec> codec_ = ParseCodec(kCodec, true).value();
  std::optional<std::vector<float>> residual_;
};

class SessionStateTest : public ::testing::Test {
 protected:
  SessionStateTest() {
    options_.server = "localhost:1";
    options_.id = ClientId("c1");
    options_.idle_limit = absl::Minutes(5);
    options_.on_event = [this](const ClientEvent& event) {
      if (event.kind == Kind::kAccepted) accepted_.push_back(event);
      if (on_event_) on_event_(event);
    };
    server_.models[3] = RandomParams(layout_, 33);
  }

  absl::Status Run() { return Run(stop_.get_token()); }
  absl::Status Run(std::stop_token stop) {
    return Session(options_, &trainer_, &server_, &clock_, std::move(stop)).Run();
  }
  static WorkOrder Order(WorkOrderId id) {
    WorkOrder order = MakeOrder(WorkKind::kTrain, id, 3, static_cast<uint64_t>(id));
    order.codec_json = kCodec;
    order.error_feedback = ErrorFeedback::kByExamples;
    return order;
  }
  std::string Sent(WorkOrderId id) const { return server_.uploads.at(id).payload; }
  std::string Expected(WorkOrderId id, bool taken = true) {
    return feedback_.Next(server_.models.at(3), static_cast<uint64_t>(id), taken);
  }

  const test::TempDir dir_;
  const LayoutPtr layout_ = FlatLayout(20, 5);
  FakeServer server_;
  FakeTrainer trainer_{layout_};
  SimulatedClock clock_;
  ClientOptions options_;
  std::stop_source stop_;
  std::vector<ClientEvent> accepted_;
  std::function<void(const ClientEvent&)> on_event_;
  Feedback feedback_;
};

class SessionFeedbackTest : public SessionStateTest, public ::testing::WithParamInterface<bool> {
 protected:
  SessionFeedbackTest() {
    if (GetParam()) options_.state_dir = dir_.File("state");
    server_.limits.max_chunk_bytes = 1 << 20;
  }
};
INSTANTIATE_TEST_SUITE_P(State, SessionFeedbackTest, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "on_disk" : "in_memory"; });

TEST_P(SessionFeedbackTest, WhatOneUpdateLeavesOutTheNextOneBrings) {
  for (WorkOrderId id = 1; id <= 3; ++id) server_.check_ins.push_back(Order(id));
  EXPECT_THAT(Run(), IsOk());
  for (WorkOrderId id = 1; id <= 3; ++id) EXPECT_EQ(Sent(id), Expected(id)) << id;
}

TEST_P(SessionFeedbackTest, OffIsOff) {
  for (WorkOrderId id = 1; id <= 2; ++id) {
    server_.check_ins.push_back(Order(id));
    std::get<WorkOrder>(*server_.check_ins.back()).error_feedback = ErrorFeedback::kOff;
  }
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(Sent(1), Expected(1, /*taken=*/false));
  EXPECT_EQ(Sent(2), Expected(2, /*taken=*/false));
}

TEST_P(SessionFeedbackTest, AJobsResidualIsItsOwn) {
  server_.check_ins.push_back(Order(1));
  WorkOrder other = Order(2);
  other.job.id = JobId("job-2");
  server_.check_ins.push_back(other);
  server_.check_ins.push_back(Order(3));
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(Sent(1), Expected(1));
  EXPECT_EQ(Sent(3), Expected(3));
  EXPECT_EQ(Sent(2), Feedback().Next(server_.models[3], 2));
}

TEST_P(SessionFeedbackTest, ARefusedUpdateLeavesTheResidualAsItWas) {
  server_.check_ins = {Order(1), Order(2), Order(3)};
  on_event_ = [&](const ClientEvent& event) {
    if (event.kind != Kind::kWorkReceived) return;
    server_.upload_verdict.reset();
    if (event.work_order == 2) {
      server_.upload_verdict =
          UploadAnswer{.state = UploadAnswer::State::kRefused, .refusal = "corrupt"};
    }
  };
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(Sent(1), Expected(1));
  EXPECT_FALSE(server_.uploads.at(2).accepted);
  EXPECT_EQ(Sent(3), Expected(3));
}

TEST_P(SessionFeedbackTest, WorkThatWasGivenBackLeavesTheResidualAsItWas) {
  server_.check_ins = {Order(1), Order(2), Order(3)};
  trainer_.on_train = [&](const TrainTask& task, ParamVector& m) -> absl::StatusOr<TrainResult> {
    if (task.work_order == 2) return absl::InternalError("out of memory");
    return FakeTrainer(layout_).Train(task, m);
  };
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(Sent(1), Expected(1));
  EXPECT_EQ(Sent(3), Expected(3));
}

// The first update is counted, and before its answer arrives a sign of life is answered with "no
// longer wanted".
class HastyServer final : public FakeServer {
 public:
  absl::StatusOr<UploadAnswer> UploadUpdate(const UpdateHeader& header, const ChunkSource& chunks,
                                            std::stop_token stop) override {
    const auto answer = FakeServer::UploadUpdate(header, chunks, stop);
    if (counted_.exchange(true)) return answer;
    std::latch stopped(1);
    const std::stop_callback on_stop(stop, [&] { stopped.count_down(); });
    stopped.wait();
    return absl::CancelledError("stopped");
  }
  absl::StatusOr<bool> ReportProgress(const ProgressReport&, std::stop_token) override {
    return !counted_;
  }

 private:
  std::atomic<bool> counted_ = false;
};

TEST_P(SessionFeedbackTest, AnUpdateThatWasCountedUnseenIsNotTakenForLost) {
  HastyServer server;
  server.limits.max_chunk_bytes = 1 << 20;
  server.models[3] = server_.models[3].Clone();
  server.check_ins = {Order(1), Order(2)};
  std::get<WorkOrder>(*server.check_ins[0]).liveness = absl::Milliseconds(3);
  EXPECT_THAT(Session(options_, &trainer_, &server, &clock_, {}).Run(), IsOk());
  EXPECT_EQ(server.uploads.at(1).payload, Expected(1));
  EXPECT_EQ(server.uploads.at(2).payload, Expected(2)) << "with what the first one left out";
  EXPECT_EQ(trainer_.trained, 2);
  EXPECT_THAT(accepted_, SizeIs(2));
}

TEST_P(SessionFeedbackTest, ARestartKeepsTheResidualOnDisk) {
  server_.check_ins = {Order(1)};
  EXPECT_THAT(Run(), IsOk());
  server_.check_ins = {Order(2)};
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(Sent(1), Expected(1));
  const bool kept = GetParam();
  EXPECT_EQ(Sent(2) == Expected(2), kept);
}

// A process that dies in mid-upload, and the one after it.
class SessionOutboxTest : public SessionStateTest {
 protected:
  SessionOutboxTest() { options_.state_dir = dir_.File("state"); }

  // Runs a session that dies: nothing that it says after `chunks` chunks arrives.
  void DieInMidUpload(int chunks) {
    server_.check_ins = {Order(1)};
    std::stop_source dead;
    int stored = 0;
    server_.upload_fault = [&](int64_t, int64_t) {
      if (stored++ < chunks) return ChunkFate::kStored;
      dead.request_stop();
      return ChunkFate::kLost;
    };
    EXPECT_THAT(Run(dead.get_token()), StatusIs(absl::StatusCode::kCancelled));
    server_.upload_fault = nullptr;
    server_.abandoned.clear();  // the dead say nothing
    accepted_.clear();
  }
};

TEST_F(SessionOutboxTest, TheNextProcessSendsTheRestAndTrainsNothing) {
  for (const int chunks : {0, 1, 2, 3}) {
    server_.uploads.clear();
    trainer_.trained = 0;
    DieInMidUpload(chunks);
    ASSERT_EQ(server_.uploads.at(1).payload.size(), static_cast<size_t>(16 * chunks));
    const int64_t sent_before = server_.sent_bytes;
    EXPECT_THAT(Run(), IsOk());
    EXPECT_TRUE(server_.uploads.at(1).accepted);
    EXPECT_EQ(server_.sent_bytes - sent_before, 60 - 16 * chunks) << "the rest alone";
    EXPECT_EQ(trainer_.trained, 1);
    ASSERT_THAT(accepted_, SizeIs(1));
    EXPECT_EQ(accepted_[0].work_order, 1);
    EXPECT_EQ(accepted_[0].job_name, "test");
    EXPECT_EQ(accepted_[0].work, "train");

    const int64_t calls = server_.upload_calls;
    EXPECT_THAT(Run(), IsOk());
    EXPECT_EQ(server_.upload_calls, calls) << "settled for good";
  }
}

TEST_F(SessionOutboxTest, TheNextProcessKeepsTheResidualOfWhatItSent) {
  DieInMidUpload(1);
  server_.check_ins = {Order(2)};
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(Sent(1), Expected(1));
  EXPECT_EQ(Sent(2), Expected(2));
}

TEST_F(SessionOutboxTest, TheNextProcessKeepsTheResidualOfWhatWasCountedUnseen) {
  server_.check_ins = {Order(1)};
  std::stop_source dead;
  server_.upload_answer_fault = [&](int64_t) {
    dead.request_stop();
    return absl::UnavailableError("dead");
  };
  EXPECT_FALSE(Run(dead.get_token()).ok());
  EXPECT_TRUE(server_.uploads.at(1).accepted);
  server_.upload_answer_fault = nullptr;
  const int64_t sent_before = server_.sent_bytes;
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(server_.sent_bytes, sent_before) << "already there";
  server_.check_ins = {Order(2)};
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(Sent(1), Expected(1));
  EXPECT_EQ(Sent(2), Expected(2));
}

TEST_F(SessionOutboxTest, AnUpdateThatTheServerNoLongerWantsIsDropped) {
  DieInMidUpload(2);
  server_.upload_verdict = UploadAnswer{
      .state = UploadAnswer::State::kRefused, .refusal = "unknown_work_order", .message = "lost"};
  EXPECT_THAT(Run(), IsOk());
  server_.upload_verdict.reset();
  server_.uploads.clear();
  server_.check_ins = {Order(2)};
  EXPECT_THAT(Run(), IsOk());
  EXPECT_THAT(server_.uploads, SizeIs(1));
  EXPECT_EQ(Sent(2), Expected(2)) << "its residual went with it";
}

TEST_F(SessionOutboxTest, ACallThatTheServerCannotAnswerIsNotRepeatedForEver) {
  DieInMidUpload(2);
  server_.upload_answer_fault = [](int64_t) { return absl::NotFoundError("no such job"); };
  EXPECT_THAT(Run(), IsOk());
  const int64_t calls = server_.upload_calls;
  EXPECT_THAT(Run(), IsOk());
  EXPECT_EQ(server_.upload_calls, calls);
}

TEST_F(SessionOutboxTest, AServerThatIsAwayIsWaitedForAndNothingElseIsDone) {
  DieInMidUpload(2);
  options_.connect_limit = absl::Minutes(1);
  for (int i = 0; i < 20; ++i) server_.enrolments.push_back(absl::UnavailableError("away"));
  server_.check_ins = {Order(2)};
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(server_.check_ins, SizeIs(1)) << "not before the update is settled";
  server_.enrolments.clear();
  EXPECT_THAT(Run(), IsOk());
  EXPECT_TRUE(server_.uploads.at(1).accepted);
  EXPECT_TRUE(server_.uploads.at(2).accepted);
}

TEST_F(SessionOutboxTest, LosingAccessKeepsTheUpdate) {
  DieInMidUpload(2);
  server_.upload_answer_fault = [](int64_t) { return absl::PermissionDeniedError("revoked"); };
  EXPECT_THAT(Run(), StatusIs(absl::StatusCode::kPermissionDenied));
  server_.upload_answer_fault = nullptr;
  server_.uploads.clear();
  EXPECT_THAT(Run(), IsOk());
  EXPECT_TRUE(server_.uploads.at(1).accepted);
}

TEST_F(SessionOutboxTest, OnceIsDoneWhenTheUpdateOfTheProcessBeforeIsCounted) {
  DieInMidUpload(2);
  server_.check_ins = {Order(2)};
  EXPECT_THAT(Session(options_, &trainer_, &server_, &clock_, {}).RunOnce(), IsOk());
  EXPECT_THAT(server_.check_ins, SizeIs(1));
  EXPECT_TRUE(server_.uploads.at(1).accepted);
}

TEST_F(SessionOutboxTest, DamagedFilesAreDoneWithout) {
  DieInMidUpload(2);
  dir_.Write("state/outbox/update", "not an update");
  dir_.Write("state/residuals/job-1.safetensors", "not a residual");
  server_.uploads.clear();
  server_.check_ins = {Order(2)};
  EXPECT_THAT(Run(), IsOk());
  EXPECT_THAT(server_.uploads, SizeIs(1));
  EXPECT_TRUE(server_.uploads.at(2).accepted);
}

TEST_F(SessionOutboxTest, WhatNoJobUsedForAMonthIsRemoved) {
  for (const char* folder : {"models", "residuals"}) {
    dir_.Write(absl::StrCat("state/", folder, "/old.safetensors"), "x");
  }
  RealClock real;
  clock_.AdvanceTo(real.Now() + absl::Hours(29 * 24));
  EXPECT_THAT(Run(), IsOk());
  EXPECT_TRUE(std::filesystem::exists(dir_.File("state/models/old.safetensors")));
  clock_.AdvanceBy(absl::Hours(2 * 24));
  EXPECT_THAT(Run(), IsOk());
  EXPECT_FALSE(std::filesystem::exists(dir_.File("state/models/old.safetensors")));
  EXPECT_FALSE(std::filesystem::exists(dir_.File("state/residuals/old.safetensors")));
}

}  // namespace
}  // namespace tributary::sdk
