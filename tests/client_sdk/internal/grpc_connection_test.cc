#include "client_sdk/internal/grpc_connection.h"

#include <chrono>
#include <functional>
#include <future>
#include <latch>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client_sdk/internal/proto_convert.h"
#include "client_sdk/internal/uploader.h"
#include "common/digest.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary::sdk {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::IsOk;
using ::tributary::test::IsOkAndHolds;
using ::tributary::test::StatusIs;
using ::tributary::test::TinyLayout;

// Answers as each test says and keeps what it was asked.
class ScriptedService final : public v1::Coordinator::Service {
 public:
  using Context = grpc::ServerContext;
  grpc::Status Enroll(Context*, const v1::EnrollRequest* q, v1::EnrollResponse* r) override {
    enroll = *q;
    return on_enroll ? on_enroll(*r) : grpc::Status::OK;
  }
  grpc::Status CheckIn(Context* c, const v1::CheckInRequest* q, v1::CheckInResponse* r) override {
    check_in = *q;
    return on_check_in ? on_check_in(*c, *r) : grpc::Status::OK;
  }
  grpc::Status FetchModel(Context* c, const v1::FetchModelRequest* q,
                          grpc::ServerWriter<v1::FetchModelResponse>* w) override {
    fetch = *q;
    return on_fetch(*c, *w);
  }
  grpc::Status FetchProgram(Context*, const v1::FetchProgramRequest* q,
                            grpc::ServerWriter<v1::FetchProgramResponse>* w) override {
    program = *q;
    return on_program(*w);
  }
  grpc::Status UploadUpdate(Context*, grpc::ServerReader<v1::UploadUpdateRequest>* reader,
                            v1::UploadUpdateResponse* r) override {
    return on_upload(*reader, *r);
  }
  grpc::Status ReportEvaluation(Context*, const v1::ReportEvaluationRequest* q,
                                v1::ReportEvaluationResponse* r) override {
    evaluation = *q;
    r->set_message("late");
    return grpc::Status::OK;
  }
  grpc::Status ReportProgress(Context*, const v1::ReportProgressRequest* q,
                              v1::ReportProgressResponse* r) override {
    progress = *q;
    r->set_go_on(q->steps_done() < 5);
    return grpc::Status::OK;
  }
  grpc::Status AbandonWork(Context*, const v1::AbandonWorkRequest* q,
                           v1::AbandonWorkResponse*) override {
    abandon = *q;
    return grpc::Status::OK;
  }

  std::function<grpc::Status(v1::EnrollResponse&)> on_enroll;
  std::function<grpc::Status(Context&, v1::CheckInResponse&)> on_check_in;
  std::function<grpc::Status(Context&, grpc::ServerWriter<v1::FetchModelResponse>&)> on_fetch;
  std::function<grpc::Status(grpc::ServerReader<v1::UploadUpdateRequest>&,
                             v1::UploadUpdateResponse&)>
      on_upload;
  std::function<grpc::Status(grpc::ServerWriter<v1::FetchProgramResponse>&)> on_program;
  v1::FetchProgramRequest program;
  v1::EnrollRequest enroll;
  v1::CheckInRequest check_in;
  v1::FetchModelRequest fetch;
  v1::ReportEvaluationRequest evaluation;
  v1::ReportProgressRequest progress;
  v1::AbandonWorkRequest abandon;
};

class GrpcConnectionTest : public ::testing::Test {
 protected:
  GrpcConnectionTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    options_.server = absl::StrCat("127.0.0.1:", port);
    options_.id = ClientId("c1");
    options_.user_agent = "test/1";
    Connect();
  }
  ~GrpcConnectionTest() override { server_->Shutdown(); }

  void Connect() {
    auto made = GrpcConnection::Create(options_);
    ASSERT_THAT(made, IsOk());
    connection_ = *std::move(made);
  }

  ScriptedService service_;
  std::unique_ptr<grpc::Server> server_;
  ClientOptions options_;
  std::unique_ptr<GrpcConnection> connection_;
  std::stop_source stop_;
};

class CollectingSink final : public ModelSink {
 public:
  absl::Status OnHeader(const ModelHeader& h, bool u) override {
    header = h;
    unchanged = u;
    return absl::OkStatus();
  }
  absl::Status OnChunk(const Chunk& chunk) override {
    EXPECT_EQ(chunk.offset, static_cast<int64_t>(bytes.size()));
    EXPECT_EQ(chunk.xxh3, Xxh3(chunk.data));
    bytes.append(chunk.data.data(), chunk.data.size());
    return answer;
  }
  ModelHeader header;
  bool unchanged = false;
  std::string bytes;
  absl::Status answer;
};

v1::FetchModelResponse HeaderMessage() {
  v1::FetchModelResponse message;
  v1::ModelHeader* const model = message.mutable_header()->mutable_model();
  model->set_job_id("job-1");
  model->set_version(3);
  ToProto(*TinyLayout(), model->mutable_layout());
  model->set_model_digest(Sha256::Of("model").ToBytes());
  model->set_total_bytes(40);
  return message;
}

v1::FetchModelResponse ChunkMessage(int64_t offset, const std::string& data) {
  v1::FetchModelResponse message;
  message.mutable_chunk()->set_offset(static_cast<uint64_t>(offset));
  message.mutable_chunk()->set_data(data);
  message.mutable_chunk()->set_xxh3(Xxh3(data));
  return message;
}

TEST_F(GrpcConnectionTest, EnrollSaysWhoAndHearsTheLimits) {
  service_.on_enroll = [](v1::EnrollResponse& r) {
    r.set_max_chunk_bytes(4096);
    r.mutable_max_wait()->set_seconds(7);
    r.mutable_max_wait()->set_nanos(500'000'000);
    r.set_server_agent("fake/2");
    return grpc::Status::OK;
  };
  options_.evaluate_only = true;
  Connect();
  TRIB_ASSERT_OK_AND_ASSIGN(const ServerLimits limits, connection_->Enroll({}));
  EXPECT_EQ(limits.max_chunk_bytes, 4096);
  EXPECT_EQ(limits.max_wait, absl::Milliseconds(7500));
  EXPECT_EQ(limits.server_agent, "fake/2");
  EXPECT_EQ(service_.enroll.client_id(), "c1");
  EXPECT_EQ(service_.enroll.protocol_version(), 1);
  EXPECT_EQ(service_.enroll.user_agent(), "test/1");
  EXPECT_TRUE(service_.enroll.evaluate_only());
}

TEST_F(GrpcConnectionTest, LimitsThatTheServerLeavesOutHaveDefaults) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ServerLimits limits, connection_->Enroll({}));
  EXPECT_EQ(limits.max_chunk_bytes, 1 << 20);
  EXPECT_EQ(limits.max_wait, absl::InfiniteDuration());
}

TEST_F(GrpcConnectionTest, EveryStatusCodeArrivesWithItsMessage) {
  for (int code = 1; code <= 16; ++code) {
    service_.on_enroll = [code](v1::EnrollResponse&) {
      return grpc::Status(static_cast<grpc::StatusCode>(code), "why");
    };
    const absl::Status sent(static_cast<absl::StatusCode>(code), "why");
    const bool of_the_transport = absl::IsInternal(sent) || absl::IsUnknown(sent);
    EXPECT_EQ(connection_->Enroll({}).status(),
              of_the_transport ? absl::UnavailableError("broken connection: why") : sent);
  }
}

TEST_F(GrpcConnectionTest, AWorkOrderArrivesWhole) {
  service_.on_check_in = [](grpc::ServerContext&, v1::CheckInResponse& r) {
    v1::WorkOrder& w = *r.mutable_work();
    w.set_job_id("job-1");
    w.set_work_order_id(9);
    w.set_kind(v1::WORK_KIND_TRAIN);
    w.set_version(3);
    w.set_local_steps(50);
    w.mutable_deadline()->set_seconds(1000);
    w.mutable_deadline()->set_nanos(5);
    w.set_seed(0xFFFFFFFFFFFFFFFE);
    w.set_job_name("name");
    w.set_model_json("{m}");
    w.set_train_json("{t}");
    w.set_codec_json("[c]");
    w.set_downlink_json("{d}");
    w.set_error_feedback(v1::ERROR_FEEDBACK_BY_EXAMPLES);
    w.set_error_feedback_momentum(0.5);
    w.mutable_liveness()->set_seconds(300);
    w.set_client_rate(0.25);
    w.set_server_rate(3);
    w.set_lora_json("{l}");
    w.set_adapter_rank(8);
    return grpc::Status::OK;
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const CheckInAnswer answer,
                            connection_->CheckIn(absl::Milliseconds(1250), 3, {}));
  EXPECT_EQ(service_.check_in.client_id(), "c1");
  EXPECT_EQ(service_.check_in.task(), 3);
  EXPECT_EQ(service_.check_in.max_wait().seconds(), 1);
  EXPECT_EQ(service_.check_in.max_wait().nanos(), 250'000'000);
  const WorkOrder& order = std::get<WorkOrder>(answer);
  EXPECT_EQ(order.job.id, JobId("job-1"));
  EXPECT_EQ(order.job.name, "name");
  EXPECT_EQ(order.job.model_json, "{m}");
  EXPECT_EQ(order.job.train_json, "{t}");
  EXPECT_EQ(order.id, 9);
  EXPECT_EQ(order.kind, WorkKind::kTrain);
  EXPECT_EQ(order.version, 3);
  EXPECT_EQ(order.local_steps, 50);
  EXPECT_EQ(order.deadline, absl::FromUnixSeconds(1000) + absl::Nanoseconds(5));
  EXPECT_EQ(order.seed, 0xFFFFFFFFFFFFFFFE);
  EXPECT_EQ(order.codec_json, "[c]");
  EXPECT_EQ(order.downlink_json, "{d}");
  EXPECT_EQ(order.error_feedback, ErrorFeedback(ErrorFeedback::kByExamples, 0.5));
  EXPECT_EQ(order.liveness, absl::Minutes(5));
  EXPECT_EQ(order.client_rate, 0.25);
  EXPECT_EQ(order.server_rate, 3.0);
  EXPECT_EQ(order.lora_json, "{l}");
  EXPECT_EQ(order.adapter_rank, 8);
}

TEST(ProtoConvertTest, WhatAWorkOrderLeavesOutIsAbsent) {
  v1::CheckInResponse r;
  r.mutable_work()->set_job_id("job-1");
  r.mutable_work()->set_work_order_id(1);
  r.mutable_work()->set_kind(v1::WORK_KIND_INITIALISE);
  TRIB_ASSERT_OK_AND_ASSIGN(const CheckInAnswer answer, FromProto(r));
  const WorkOrder& order = std::get<WorkOrder>(answer);
  EXPECT_EQ(order.local_steps, std::nullopt);
  EXPECT_EQ(order.deadline, absl::InfiniteFuture());
  EXPECT_EQ(order.liveness, absl::InfiniteDuration());
}

TEST(ProtoConvertTest, AnswersThatMakeNoSenseAreErrors) {
  v1::CheckInResponse r;
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kUnimplemented));
  r.mutable_work()->set_job_id("job-1");
  r.mutable_work()->set_work_order_id(1);
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("kind 0")));
  r.mutable_work()->set_kind(static_cast<v1::WorkKind>(77));
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("kind 77")));
  r.mutable_work()->set_kind(v1::WORK_KIND_TRAIN);
  EXPECT_THAT(FromProto(r), IsOk());
  r.mutable_work()->set_error_feedback(static_cast<v1::ErrorFeedback>(9));
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("kind 9")));
  r.mutable_work()->clear_error_feedback();
  for (const double momentum : {-0.1, 1.0, std::numeric_limits<double>::quiet_NaN()}) {
    r.mutable_work()->set_error_feedback_momentum(momentum);
    EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kInvalidArgument,
                                       HasSubstr("error_feedback_momentum is ")));
  }
  r.mutable_work()->clear_error_feedback_momentum();
  r.mutable_work()->set_local_steps(-1);
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kInvalidArgument));
  r.mutable_work()->set_local_steps(0);
  r.mutable_work()->set_adapter_rank(-1);
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kInvalidArgument));
  r.mutable_work()->set_adapter_rank(0);
  r.mutable_work()->set_job_id("../etc");
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kInvalidArgument));

  r.mutable_retry()->mutable_min_delay()->set_seconds(3);
  r.mutable_retry()->mutable_max_delay()->set_seconds(2);
  EXPECT_THAT(FromProto(r), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3s to 2s")));

  v1::UploadUpdateResponse upload;
  EXPECT_THAT(FromProto(upload), StatusIs(absl::StatusCode::kUnimplemented));
  upload.set_state(v1::UploadUpdateResponse::STATE_PARTIAL);
  upload.set_durable_bytes(~uint64_t{0});
  EXPECT_THAT(FromProto(upload), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ProtoConvertTest, ALayoutMustHaveTheDigestThatItStates) {
  v1::ParamLayout layout;
  ToProto(*TinyLayout(), &layout);
  TRIB_ASSERT_OK_AND_ASSIGN(const LayoutPtr back, FromProto(layout));
  EXPECT_EQ(back->digest(), TinyLayout()->digest());
  layout.mutable_tensors(0)->set_name("renamed");
  EXPECT_THAT(FromProto(layout), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("digest")));
  layout.set_digest("short");
  EXPECT_THAT(FromProto(layout), StatusIs(absl::StatusCode::kInvalidArgument));
  layout.mutable_tensors(0)->set_shape(0, -4);
  EXPECT_THAT(FromProto(layout), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(GrpcConnectionTest, AModelArrivesInDeltas) {
  service_.on_fetch = [](grpc::ServerContext&, grpc::ServerWriter<v1::FetchModelResponse>& w) {
    v1::FetchModelResponse header = HeaderMessage();
    for (const int version : {2, 3}) {
      v1::ModelDelta* const delta = header.mutable_header()->add_deltas();
      delta->set_version(version);
      delta->set_bytes(20);
    }
    w.Write(header);
    return grpc::Status::OK;
  };
  CollectingSink sink;
  const FetchRequest request{
      .job = JobId("job-1"), .version = 3, .have_digest = Sha256::Of("held"), .have_version = 0};
  EXPECT_THAT(connection_->FetchModel(request, sink, {}), IsOk());
  EXPECT_THAT(sink.header.deltas, ::testing::ElementsAre(DeltaPart{.version = 2, .bytes = 20},
                                                         DeltaPart{.version = 3, .bytes = 20}));
  EXPECT_TRUE(service_.fetch.has_have_version());
  EXPECT_EQ(service_.fetch.have_version(), 0);
}

TEST_F(GrpcConnectionTest, AModelArrivesInChunks) {
  service_.on_fetch = [](grpc::ServerContext&, grpc::ServerWriter<v1::FetchModelResponse>& w) {
    w.Write(HeaderMessage());
    w.Write(ChunkMessage(0, "hello "));
    w.Write(ChunkMessage(6, "world"));
    return grpc::Status::OK;
  };
  CollectingSink sink;
  const FetchRequest request{
      .job = JobId("job-1"), .version = 3, .offset = 12, .have_digest = Sha256::Of("held")};
  EXPECT_THAT(connection_->FetchModel(request, sink, {}), IsOk());
  EXPECT_EQ(sink.bytes, "hello world");
  EXPECT_EQ(sink.header.job, JobId("job-1"));
  EXPECT_EQ(sink.header.version, 3);
  EXPECT_EQ(sink.header.layout->digest(), TinyLayout()->digest());
  EXPECT_EQ(sink.header.model_digest, Sha256::Of("model"));
  EXPECT_EQ(sink.header.total_bytes, 40);
  EXPECT_EQ(service_.fetch.client_id(), "c1");
  EXPECT_EQ(service_.fetch.job_id(), "job-1");
  EXPECT_EQ(service_.fetch.version(), 3);
  EXPECT_FALSE(service_.fetch.has_have_version());
  EXPECT_EQ(service_.fetch.offset(), 12);
  EXPECT_EQ(service_.fetch.have_digest(), Sha256::Of("held").ToBytes());
}

TEST_F(GrpcConnectionTest, AProgramArrivesInChunks) {
  service_.on_program = [](grpc::ServerWriter<v1::FetchProgramResponse>& w) {
    for (const auto& [offset, data] : {std::pair(5, "hello "), std::pair(11, "world")}) {
      v1::FetchProgramResponse message;
      *message.mutable_chunk() = ChunkMessage(offset, data).chunk();
      w.Write(message);
    }
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "broken");
  };
  std::string bytes;
  const auto take = [&](const Chunk& chunk) {
    EXPECT_EQ(chunk.offset, static_cast<int64_t>(5 + bytes.size()));
    EXPECT_EQ(chunk.xxh3, Xxh3(chunk.data));
    bytes.append(chunk.data.data(), chunk.data.size());
    return bytes.size() > 20 ? absl::DataLossError("enough") : absl::OkStatus();
  };
  EXPECT_THAT(connection_->FetchProgram({.job = JobId("job-1"), .offset = 5}, take, {}),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(bytes, "hello world");
  EXPECT_EQ(service_.program.client_id(), "c1");
  EXPECT_EQ(service_.program.job_id(), "job-1");
  EXPECT_EQ(service_.program.offset(), 5u);

  bytes = std::string(11, 'x');
  service_.on_program = [](grpc::ServerWriter<v1::FetchProgramResponse>& w) {
    v1::FetchProgramResponse message;
    *message.mutable_chunk() = ChunkMessage(16, "hello world").chunk();
    while (w.Write(message)) {
    }
    return grpc::Status::OK;
  };
  EXPECT_THAT(connection_->FetchProgram({.job = JobId("job-1"), .offset = 5}, take, {}),
              StatusIs(absl::StatusCode::kDataLoss, "enough"));
}

TEST_F(GrpcConnectionTest, TheSinksErrorEndsTheStreamAndIsReturned) {
  bool cancelled = false;
  service_.on_fetch = [&](grpc::ServerContext& c, grpc::ServerWriter<v1::FetchModelResponse>& w) {
    w.Write(HeaderMessage());
    while (w.Write(ChunkMessage(0, std::string(1 << 16, 'x')))) {
    }
    cancelled = c.IsCancelled();
    return grpc::Status::OK;
  };
  CollectingSink sink;
  sink.answer = absl::DataLossError("damaged");
  EXPECT_THAT(connection_->FetchModel({.job = JobId("job-1")}, sink, {}),
              StatusIs(absl::StatusCode::kDataLoss, "damaged"));
  server_->Shutdown();
  EXPECT_TRUE(cancelled);
}

TEST_F(GrpcConnectionTest, TheStreamsStatusIsReturnedAfterWhatArrived) {
  service_.on_fetch = [](grpc::ServerContext&, grpc::ServerWriter<v1::FetchModelResponse>& w) {
    w.Write(HeaderMessage());
    w.Write(ChunkMessage(0, "part"));
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "restarting");
  };
  CollectingSink sink;
  EXPECT_THAT(connection_->FetchModel({.job = JobId("job-1")}, sink, {}),
              StatusIs(absl::StatusCode::kUnavailable, "restarting"));
  EXPECT_EQ(sink.bytes, "part");
}

TEST_F(GrpcConnectionTest, ASilentServerIsNotWaitedForForEver) {
  options_.call_timeout = absl::Milliseconds(50);
  Connect();
  std::latch done(1);
  service_.on_fetch = [&](grpc::ServerContext&, grpc::ServerWriter<v1::FetchModelResponse>& w) {
    w.Write(HeaderMessage());
    done.wait();
    return grpc::Status::OK;
  };
  CollectingSink sink;
  EXPECT_THAT(connection_->FetchModel({.job = JobId("job-1")}, sink, {}),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("silent for 50ms")));
  service_.on_enroll = [&](v1::EnrollResponse&) {
    done.wait();
    return grpc::Status::OK;
  };
  EXPECT_THAT(connection_->Enroll({}), StatusIs(absl::StatusCode::kDeadlineExceeded));
  done.count_down();
  server_->Shutdown();  // waits for the handlers, which use `done`
}

TEST_F(GrpcConnectionTest, AStopEndsACallThatIsHeld) {
  std::latch held(1);
  service_.on_check_in = [&](grpc::ServerContext& c, v1::CheckInResponse&) {
    held.count_down();
    while (!c.IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  };
  std::thread stopper([&] {
    held.wait();
    stop_.request_stop();
  });
  EXPECT_THAT(connection_->CheckIn(absl::Hours(1), 0, stop_.get_token()),
              StatusIs(absl::StatusCode::kCancelled));
  stopper.join();
  EXPECT_THAT(connection_->CheckIn(absl::Hours(1), 0, stop_.get_token()),
              StatusIs(absl::StatusCode::kCancelled))
      << "asked before the call";
  server_->Shutdown();  // waits for the handlers, which use `held`
}

UpdateHeader MakeHeader(absl::string_view payload) {
  UpdateHeader header{.job = JobId("job-1")};
  header.info = {.work_order = 9,
                 .base_version = 3,
                 .num_examples = 100,
                 .local_steps = 50,
                 .learning_rate = 0.05,
                 .loss = 0.7,
                 .accuracy = 0.8};
  header.layout_digest = TinyLayout()->digest();
  header.total_bytes = static_cast<int64_t>(payload.size());
  header.xxh128 = {.low = 1, .high = 2};
  return header;
}

TEST_F(GrpcConnectionTest, AnUpdateLeavesAsHeaderAndChunks) {
  std::vector<v1::UploadUpdateRequest> received;
  service_.on_upload = [&](grpc::ServerReader<v1::UploadUpdateRequest>& reader,
                           v1::UploadUpdateResponse& r) {
    for (v1::UploadUpdateRequest m; reader.Read(&m);) received.push_back(m);
    r.set_state(v1::UploadUpdateResponse::STATE_ACCEPTED);
    r.set_durable_bytes(10);
    return grpc::Status::OK;
  };
  UpdateHeader sent = MakeHeader("0123456789");
  sent.initial_layout = TinyLayout();
  TRIB_ASSERT_OK_AND_ASSIGN(const UploadAnswer answer,
                            connection_->UploadUpdate(sent, ChunksFrom("0123456789", 2, 5), {}));
  EXPECT_EQ(answer.state, UploadAnswer::State::kAccepted);
  EXPECT_EQ(answer.durable_bytes, 10);
  ASSERT_EQ(received.size(), 3);
  const v1::UpdateHeader& header = received[0].header();
  EXPECT_EQ(header.client_id(), "c1");
  EXPECT_EQ(header.job_id(), "job-1");
  EXPECT_EQ(header.work_order_id(), 9);
  EXPECT_EQ(header.base_version(), 3);
  EXPECT_EQ(header.layout_digest(), TinyLayout()->digest().ToBytes());
  TRIB_ASSERT_OK_AND_ASSIGN(const LayoutPtr layout, FromProto(header.layout()));
  EXPECT_EQ(layout->digest(), TinyLayout()->digest());
  EXPECT_EQ(header.total_bytes(), 10);
  EXPECT_EQ(header.xxh128().low(), 1);
  EXPECT_EQ(header.xxh128().high(), 2);
  EXPECT_EQ(header.num_examples(), 100);
  EXPECT_EQ(header.local_steps(), 50);
  EXPECT_EQ(header.learning_rate(), 0.05);
  EXPECT_EQ(header.loss(), 0.7);
  EXPECT_EQ(header.accuracy(), 0.8);
  EXPECT_EQ(received[1].chunk().offset(), 2);
  EXPECT_EQ(received[1].chunk().data(), "23456");
  EXPECT_EQ(received[1].chunk().xxh3(), Xxh3("23456"));
  EXPECT_EQ(received[2].chunk().offset(), 7);
  EXPECT_EQ(received[2].chunk().data(), "789");
}

// Whether the server reads all of it, or answers and leaves most of it in the connection.
TEST_F(GrpcConnectionTest, ASharedPayloadIsSentWholeAndLetGoOf) {
  for (const int64_t reads : {100, 2}) {
    std::string received;
    service_.on_upload = [&](grpc::ServerReader<v1::UploadUpdateRequest>& reader,
                             v1::UploadUpdateResponse& r) {
      v1::UploadUpdateRequest m;
      for (int64_t i = 0; i < reads && reader.Read(&m); ++i) received += m.chunk().data();
      r.set_state(v1::UploadUpdateResponse::STATE_ACCEPTED);
      return grpc::Status::OK;
    };
    std::string bytes((8 << 20) + 3, ' ');
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i % 251);
    std::promise<void> freed;
    std::shared_ptr<const std::string> payload(new std::string(bytes),
                                               [&freed](const std::string* p) {
                                                 delete p;
                                                 freed.set_value();
                                               });
    EXPECT_THAT(connection_->UploadUpdate(MakeHeader(*payload),
                                          ChunksFrom(*payload, 0, 1 << 20, payload), {}),
                IsOk());
    EXPECT_EQ(received, bytes.substr(0, received.size()));
    EXPECT_TRUE(reads < 100 || received.size() == bytes.size()) << received.size();
    payload.reset();
    EXPECT_EQ(freed.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  }
}

TEST_F(GrpcConnectionTest, ARefusalOfTheHeaderEndsTheUploadEarly) {
  service_.on_upload = [](grpc::ServerReader<v1::UploadUpdateRequest>& reader,
                          v1::UploadUpdateResponse& r) {
    v1::UploadUpdateRequest header;
    reader.Read(&header);
    r.set_state(v1::UploadUpdateResponse::STATE_REFUSED);
    r.set_refusal(v1::REFUSAL_CAUSE_TOO_LARGE);
    r.set_message("at most 1 MiB");
    return grpc::Status::OK;
  };
  const std::string payload(64 << 20, 'x');
  TRIB_ASSERT_OK_AND_ASSIGN(
      const UploadAnswer answer,
      connection_->UploadUpdate(MakeHeader(payload), ChunksFrom(payload, 0, 1 << 20), {}));
  EXPECT_EQ(answer.state, UploadAnswer::State::kRefused);
  EXPECT_EQ(answer.refusal, "too_large");
  EXPECT_EQ(answer.message, "at most 1 MiB");
}

TEST_F(GrpcConnectionTest, AnUploadThatIsPutOffSaysUntilWhen) {
  service_.on_upload = [](grpc::ServerReader<v1::UploadUpdateRequest>& reader,
                          v1::UploadUpdateResponse& r) {
    v1::UploadUpdateRequest header;
    EXPECT_TRUE(reader.Read(&header));
    r.set_state(v1::UploadUpdateResponse::STATE_RETRY);
    r.set_message("the spool is full");
    r.mutable_retry()->mutable_min_delay()->set_seconds(1);
    r.mutable_retry()->mutable_max_delay()->set_seconds(3);
    return grpc::Status::OK;
  };
  const std::string payload(3 << 20, 'p');
  TRIB_ASSERT_OK_AND_ASSIGN(
      const UploadAnswer answer,
      connection_->UploadUpdate(MakeHeader(payload), ChunksFrom(payload, 0, 1 << 20), {}));
  EXPECT_EQ(answer.state, UploadAnswer::State::kRetry);
  EXPECT_EQ(answer.message, "the spool is full");
  EXPECT_EQ(answer.retry.min_delay, absl::Seconds(1));
  EXPECT_EQ(answer.retry.max_delay, absl::Seconds(3));
}

TEST_F(GrpcConnectionTest, AHeaderAloneAsksHowMuchIsDurable) {
  service_.on_upload = [](grpc::ServerReader<v1::UploadUpdateRequest>& reader,
                          v1::UploadUpdateResponse& r) {
    int messages = 0;
    for (v1::UploadUpdateRequest m; reader.Read(&m);) ++messages;
    EXPECT_EQ(messages, 1);
    r.set_state(v1::UploadUpdateResponse::STATE_PARTIAL);
    r.set_durable_bytes(4);
    return grpc::Status::OK;
  };
  TRIB_ASSERT_OK_AND_ASSIGN(
      const UploadAnswer answer,
      connection_->UploadUpdate(MakeHeader("0123456789"), [] { return std::nullopt; }, {}));
  EXPECT_EQ(answer.state, UploadAnswer::State::kPartial);
  EXPECT_EQ(answer.durable_bytes, 4);
}

TEST_F(GrpcConnectionTest, TheShortCallsCarryTheirFields) {
  const EvaluationReport report{
      .job = JobId("job-1"),
      .work_order = 9,
      .version = 3,
      .result = {.num_examples = 7, .loss = 0.5, .accuracy = 0.25, .metrics = {{"f1", 0.75}}}};
  TRIB_ASSERT_OK_AND_ASSIGN(const EvaluationAnswer answer,
                            connection_->ReportEvaluation(report, {}));
  EXPECT_FALSE(answer.counted);
  EXPECT_EQ(answer.message, "late");
  EXPECT_EQ(service_.evaluation.client_id(), "c1");
  EXPECT_EQ(service_.evaluation.job_id(), "job-1");
  EXPECT_EQ(service_.evaluation.work_order_id(), 9);
  EXPECT_EQ(service_.evaluation.version(), 3);
  EXPECT_EQ(service_.evaluation.num_examples(), 7);
  EXPECT_EQ(service_.evaluation.loss(), 0.5);
  EXPECT_EQ(service_.evaluation.accuracy(), 0.25);
  EXPECT_EQ(service_.evaluation.metrics().at("f1"), 0.75);

  ProgressReport progress{.job = JobId("job-1"), .work_order = 9, .steps_done = 4};
  progress.steps_total = 50;
  EXPECT_THAT(connection_->ReportProgress(progress, {}), IsOkAndHolds(true));
  EXPECT_EQ(service_.progress.client_id(), "c1");
  EXPECT_EQ(service_.progress.job_id(), "job-1");
  EXPECT_EQ(service_.progress.work_order_id(), 9);
  EXPECT_EQ(service_.progress.steps_total(), 50);
  progress.steps_done = 5;
  EXPECT_THAT(connection_->ReportProgress(progress, {}), IsOkAndHolds(false));

  EXPECT_THAT(connection_->AbandonWork({.job = JobId("job-1"),
                                        .work_order = 9,
                                        .reason = AbandonReason::kTrainerFailed,
                                        .message = "out of memory"}),
              IsOk());
  EXPECT_EQ(service_.abandon.client_id(), "c1");
  EXPECT_EQ(service_.abandon.job_id(), "job-1");
  EXPECT_EQ(service_.abandon.work_order_id(), 9);
  EXPECT_EQ(service_.abandon.reason(), v1::AbandonWorkRequest::REASON_TRAINER_FAILED);
  EXPECT_EQ(service_.abandon.message(), "out of memory");
  EXPECT_THAT(connection_->AbandonWork({.job = JobId("job-1"),
                                        .work_order = 10,
                                        .reason = AbandonReason::kDiverged,
                                        .message = "the loss became inf"}),
              IsOk());
  EXPECT_EQ(service_.abandon.reason(), v1::AbandonWorkRequest::REASON_DIVERGED);
}

TEST_F(GrpcConnectionTest, AServerThatIsNotThereIsUnavailable) {
  server_->Shutdown();
  EXPECT_THAT(connection_->Enroll({}), StatusIs(absl::StatusCode::kUnavailable));
  CollectingSink sink;
  EXPECT_THAT(connection_->FetchModel({.job = JobId("job-1")}, sink, {}),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(connection_->UploadUpdate(MakeHeader("x"), ChunksFrom("x", 0, 1), {}),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace tributary::sdk
