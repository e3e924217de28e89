// tributaryd in this process, spoken to over loopback gRPC with the generated stubs, and over
// HTTP.
#include "server/server.h"

#include <future>
#include <memory>
#include <string>

#include "common/codec/update_payload.h"
#include "common/digest.h"
#include "common/params/safetensors.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "httplib.h"
#include "server/coordinator/job_spec.h"
#include "server/live/spool.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tributary/v1/coordinator.grpc.pb.h"
#include "tributary/v1/operator.grpc.pb.h"

namespace tributary::test {
namespace {

using ::testing::HasSubstr;

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { Start(); }

  void Start() {
    ServerConfig config = DevConfig(dir_.path());
    config.limits.max_chunk_bytes = 1024;
    config.limits.bdp_window = true;  // it is off wherever else servers are tested
    config.shutdown_seconds = absl::Seconds(5);
    auto server = Server::Create(config, &clock_);
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel(absl::StrCat("127.0.0.1:", server_->grpc_port()),
                                   grpc::InsecureChannelCredentials());
    coordinator_ = v1::Coordinator::NewStub(channel_);
    operator_ = v1::Operator::NewStub(channel_);
  }

  grpc::Status Enroll(const std::string& client, int version = 1) {
    grpc::ClientContext context;
    v1::EnrollRequest request;
    request.set_client_id(client);
    request.set_protocol_version(version);
    return coordinator_->Enroll(&context, request, &enrolled_);
  }

  // Puts a file in two pieces.
  void PutFile(const std::string& content, v1::FileDigest* name) {
    name->set_sha256(Sha256::Of(content).ToBytes());
    name->set_bytes(content.size());
    const size_t half = content.size() / 2;
    v1::PutFileResponse response;
    EXPECT_TRUE(PutPiece(*name, 0, content.substr(0, half), &response).ok());
    EXPECT_EQ(response.bytes(), half);
    EXPECT_TRUE(PutPiece(*name, half, content.substr(half), &response).ok());
    EXPECT_EQ(response.bytes(), content.size());
  }
  grpc::Status PutPiece(const v1::FileDigest& name, uint64_t offset, const std::string& data,
                        v1::PutFileResponse* response) {
    v1::PutFileRequest request;
    *request.mutable_file() = name;
    request.mutable_chunk()->set_offset(offset);
    request.mutable_chunk()->set_data(data);
    request.mutable_chunk()->set_xxh3(Xxh3(data));
    grpc::ClientContext context;
    return operator_->PutFile(&context, request, response);
  }

  // The id of a job of one trainer whose first model is `layout_` of ones.
  std::string Submit(const std::string& name, int64_t versions) {
    const std::string spec = *Canonical(name, versions);
    v1::SubmitJobRequest request;
    request.set_request_id(name);
    request.mutable_job()->set_spec_json(spec);
    request.mutable_job()->set_config_digest(Sha256::Of(spec).ToBytes());
    const std::string path = dir_.File("first.safetensors");
    EXPECT_THAT(
        WriteSafetensors(
            MakeParams(layout_, std::vector<float>(static_cast<size_t>(layout_->size()), 1)), path),
        IsOk());
    PutFile(ReadFile(path), request.mutable_job()->mutable_initial_model());
    grpc::ClientContext context;
    v1::SubmitJobResponse response;
    const grpc::Status status = operator_->SubmitJob(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.job_id();
  }
  static absl::StatusOr<std::string> Canonical(const std::string& name, int64_t versions) {
    const nlohmann::json json = {{"name", name},
                                 {"model", {{"custom", "fake"}, {"initial", "first.safetensors"}}},
                                 {"train", {{"optimizer", "sgd"}, {"local_steps", 1}}},
                                 {"scheduler", {{"sync_round", {{"clients_per_round", 1}}}}},
                                 {"stop", {{"versions", versions}}}};
    TRIB_ASSIGN_OR_RETURN(const JobSpec spec, ParseJobSpecJson(json.dump()));
    return CanonicalJson(spec);
  }

  grpc::Status CheckIn(const std::string& client, int64_t wait_seconds, v1::CheckInResponse* out,
                       int64_t task = 0) {
    grpc::ClientContext context;
    v1::CheckInRequest request;
    request.set_client_id(client);
    request.mutable_max_wait()->set_seconds(wait_seconds);
    request.set_task(task);
    return coordinator_->CheckIn(&context, request, out);
  }
  v1::WorkOrder GetWork(const std::string& client) {
    v1::CheckInResponse response;
    for (int i = 0; i < 10 && !response.has_work(); ++i) {
      EXPECT_TRUE(CheckIn(client, 10, &response).ok());
    }
    EXPECT_TRUE(response.has_work());
    return response.work();
  }

  // A call whose one message is `bytes`, whatever they are.
  grpc::Status SendBytes(const std::string& method, const std::string& bytes) {
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const auto await = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      EXPECT_TRUE(queue.Next(&tag, &ok));
    };
    const auto call = grpc::GenericStub(channel_).PrepareCall(&context, method, &queue);
    call->StartCall(nullptr);
    await();
    const grpc::Slice slice(bytes);
    call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
    await();
    grpc::Status status;
    call->Finish(&status, nullptr);
    await();
    return status;
  }

  // The model's bytes from `offset` on.
  grpc::Status Fetch(const v1::FetchModelRequest& request, v1::FetchModelHeader* header,
                     std::string* bytes) {
    grpc::ClientContext context;
    const auto stream = coordinator_->FetchModel(&context, request);
    v1::FetchModelResponse part;
    while (stream->Read(&part)) {
      if (part.has_header()) {
        *header = part.header();
        continue;
      }
      EXPECT_EQ(part.chunk().offset(), request.offset() + bytes->size());
      EXPECT_EQ(part.chunk().xxh3(), Xxh3(part.chunk().data()));
      EXPECT_LE(part.chunk().data().size(), 1024u);
      *bytes += part.chunk().data();
    }
    return stream->Finish();
  }

  v1::UpdateHeader Header(const v1::WorkOrder& work, const std::string& client,
                          const std::string& payload) {
    v1::UpdateHeader header;
    header.set_client_id(client);
    header.set_job_id(work.job_id());
    header.set_work_order_id(work.work_order_id());
    header.set_base_version(work.version());
    header.set_layout_digest(layout_->digest().ToBytes());
    header.set_total_bytes(payload.size());
    Xxh3Stream hash;
    hash.Update(payload);
    header.mutable_xxh128()->set_low(hash.Value().low);
    header.mutable_xxh128()->set_high(hash.Value().high);
    header.set_num_examples(10);
    header.set_local_steps(1);
    return header;
  }
  // Sends the payload's bytes [from, to); `damage` spoils the first chunk's checksum.
  grpc::Status Upload(const v1::UpdateHeader& header, const std::string& payload, size_t from,
                      size_t to, v1::UploadUpdateResponse* response, bool damage = false) {
    grpc::ClientContext context;
    const auto stream = coordinator_->UploadUpdate(&context, response);
    v1::UploadUpdateRequest message;
    *message.mutable_header() = header;
    bool open = stream->Write(message);
    for (size_t at = from; at < to && open; at += 1024) {
      v1::Chunk& chunk = *message.mutable_chunk();
      chunk.set_offset(at);
      chunk.set_data(payload.substr(at, std::min<size_t>(1024, to - at)));
      chunk.set_xxh3(Xxh3(chunk.data()) + (damage ? 1 : 0));
      open = stream->Write(message);
    }
    if (open) stream->WritesDone();
    return stream->Finish();
  }
  std::string Payload(float value) {
    ParamVector delta(layout_);
    for (float& x : delta.values()) x = value;
    return EncodeUpdate(**CreateCodec({}), delta, {.layout = layout_});
  }

  const TempDir dir_;
  RealClock clock_;
  const LayoutPtr layout_ = FlatLayout(1000);
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Coordinator::Stub> coordinator_;
  std::unique_ptr<v1::Operator::Stub> operator_;
  v1::EnrollResponse enrolled_;
};

TEST_F(ServerTest, EnrolmentTellsTheLimits) {
  EXPECT_TRUE(Enroll("c1").ok());
  EXPECT_EQ(enrolled_.max_chunk_bytes(), 1024u);
  EXPECT_EQ(enrolled_.max_wait().seconds(), 60);
  EXPECT_EQ(enrolled_.min_keepalive().seconds(), 10);
  EXPECT_THAT(enrolled_.server_agent(), HasSubstr("tributaryd/"));
  EXPECT_EQ(Enroll("no spaces").error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Enroll("c1", 2).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(ServerTest, AJobRunsToItsEndWhileItIsWatched) {
  ASSERT_TRUE(Enroll("c1").ok());
  const std::string job = Submit("demo", 2);
  EXPECT_EQ(job, "demo-1");
  EXPECT_EQ(Submit("demo", 2), job);  // the same request id
  grpc::ClientContext watching;
  v1::WatchJobRequest watch;
  watch.set_job_id(job);
  const auto states = operator_->WatchJob(&watching, watch);
  v1::Job state;
  ASSERT_TRUE(states->Read(&state));
  EXPECT_EQ(state.stop_versions(), 2);
  for (int round = 0; round < 2; ++round) {
    const v1::WorkOrder work = GetWork("c1");
    EXPECT_EQ(work.kind(), v1::WORK_KIND_TRAIN);
    EXPECT_EQ(work.version(), round);
    EXPECT_THAT(work.model_json(), HasSubstr("fake"));
    v1::UploadUpdateResponse response;
    const std::string payload = Payload(2);
    EXPECT_TRUE(Upload(Header(work, "c1", payload), payload, 0, payload.size(), &response).ok());
    EXPECT_EQ(response.state(), v1::UploadUpdateResponse::STATE_ACCEPTED);
  }
  while (states->Read(&state)) {
  }
  EXPECT_TRUE(states->Finish().ok());
  EXPECT_EQ(state.state(), v1::JOB_STATE_DONE);
  EXPECT_EQ(state.version(), 2);
  EXPECT_EQ(state.updates(), 2);

  grpc::ClientContext exporting;
  v1::ExportModelRequest request;
  request.set_job_id(job);
  request.set_version(-1);
  const auto stream = operator_->ExportModel(&exporting, request);
  v1::ExportModelResponse part;
  std::string bytes;
  while (stream->Read(&part)) bytes += part.chunk().data();
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(bytes.size(), 4000u);
  EXPECT_EQ(*reinterpret_cast<const float*>(bytes.data()), 5.0f);

  grpc::ClientContext listing;
  v1::ListVersionsRequest list;
  list.set_job_id(job);
  v1::ListVersionsResponse versions;
  EXPECT_TRUE(operator_->ListVersions(&listing, list, &versions).ok());
  ASSERT_EQ(versions.versions_size(), 3);
  EXPECT_EQ(versions.versions(0).version(), 2);
  EXPECT_EQ(versions.versions(0).bytes(), 4000u);
}

TEST_F(ServerTest, AModelIsFetchedFromAnyOffset) {
  ASSERT_TRUE(Enroll("c1").ok());
  v1::FetchModelRequest request;
  request.set_client_id("c1");
  request.set_job_id(Submit("demo", 1));
  GetWork("c1");
  v1::FetchModelHeader header;
  std::string all, again, rest, none;
  EXPECT_TRUE(Fetch(request, &header, &all).ok());
  EXPECT_TRUE(Fetch(request, &header, &again).ok());
  EXPECT_EQ(again, all) << "of the messages that the first one left";
  EXPECT_EQ(all.size(), 4000u);
  EXPECT_EQ(header.model().total_bytes(), 4000u);
  EXPECT_EQ(Sha256::Of(all).ToBytes(), header.model().model_digest());
  EXPECT_EQ(header.model().layout().digest(), layout_->digest().ToBytes());
  request.set_offset(2500);
  EXPECT_TRUE(Fetch(request, &header, &rest).ok());
  EXPECT_EQ(rest, all.substr(2500));
  request.set_have_digest(header.model().model_digest());
  EXPECT_TRUE(Fetch(request, &header, &none).ok());
  EXPECT_TRUE(header.unchanged());
  EXPECT_EQ(none, "");
  request.set_offset(4001);
  EXPECT_EQ(Fetch(request, &header, &none).error_code(), grpc::StatusCode::OUT_OF_RANGE);
  request.set_version(9);
  EXPECT_EQ(Fetch(request, &header, &none).error_code(), grpc::StatusCode::NOT_FOUND);
}

// Of the calls whose messages the server parses itself.
TEST_F(ServerTest, BytesThatAreNoRequestCostTheirCallerAnError) {
  Submit("demo", 1);
  const std::string bytes = "\x0a\xff no protobuf";
  for (const char* method : {"Coordinator/FetchModel", "Coordinator/FetchProgram"}) {
    EXPECT_EQ(SendBytes(absl::StrCat("/tributary.v1.", method), bytes).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT)
        << method;
  }
  EXPECT_EQ(SendBytes("/tributary.v1.Operator/ExportModel", bytes).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_TRUE(Enroll("c1").ok()) << "the server goes on";
}

TEST_F(ServerTest, ABrokenUploadIsResumed) {
  ASSERT_TRUE(Enroll("c1").ok());
  Submit("demo", 1);
  const v1::WorkOrder work = GetWork("c1");
  const std::string payload = Payload(2);
  const v1::UpdateHeader header = Header(work, "c1", payload);
  v1::UploadUpdateResponse response;
  EXPECT_TRUE(Upload(header, payload, 0, 2048, &response).ok());
  EXPECT_EQ(response.state(), v1::UploadUpdateResponse::STATE_PARTIAL);
  EXPECT_EQ(response.durable_bytes(), 2048u);
  EXPECT_EQ(Upload(header, payload, 2048, 4000, &response, true).error_code(),
            grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(Upload(header, payload, 3000, 4000, &response).error_code(),
            grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_TRUE(Upload(header, payload, 2048, 4000, &response).ok());
  EXPECT_EQ(response.state(), v1::UploadUpdateResponse::STATE_ACCEPTED);
  EXPECT_TRUE(Upload(header, payload, 0, 0, &response).ok());
  EXPECT_EQ(response.state(), v1::UploadUpdateResponse::STATE_ACCEPTED);
}

TEST_F(ServerTest, BadCallsCostTheirCallerAnError) {
  ASSERT_TRUE(Enroll("c1").ok());
  Submit("demo", 1);
  const v1::WorkOrder work = GetWork("c1");
  const std::string payload = Payload(2);
  v1::UploadUpdateResponse response;
  v1::UpdateHeader header = Header(work, "c1", payload);
  header.set_work_order_id(99);
  EXPECT_TRUE(Upload(header, payload, 0, 4000, &response).ok());
  EXPECT_EQ(response.refusal(), v1::REFUSAL_CAUSE_UNKNOWN_WORK_ORDER);
  header.set_job_id("nothing-1");
  EXPECT_EQ(Upload(header, payload, 0, 4000, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  v1::CheckInResponse answer;
  EXPECT_EQ(CheckIn("stranger", 0, &answer).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  const grpc::Status backwards = CheckIn("c1", 0, &answer, /*task=*/-1);
  EXPECT_EQ(backwards.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(backwards.error_message(),
            "task, adapter_rank and memory_bytes: found -1, 0 and 0, allowed: integers from 0");

  grpc::ClientContext no_header;
  const auto stream = coordinator_->UploadUpdate(&no_header, &response);
  v1::UploadUpdateRequest chunk;
  chunk.mutable_chunk()->set_data("x");
  stream->Write(chunk);
  stream->WritesDone();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);

  header = Header(work, "c1", payload);
  header.set_total_bytes(uint64_t{1} << 40);
  EXPECT_TRUE(Upload(header, payload, 0, 0, &response).ok());
  EXPECT_EQ(response.refusal(), v1::REFUSAL_CAUSE_TOO_LARGE);
  grpc::ClientContext getting;
  v1::GetJobRequest get;
  get.set_job_id(work.job_id());
  v1::Job job;
  EXPECT_TRUE(operator_->GetJob(&getting, get, &job).ok());
  EXPECT_EQ(job.counters().lost().at("too_large"), 1);
  EXPECT_EQ(job.counters().lost().at("unknown_work_order"), 1);
  EXPECT_EQ(job.state(), v1::JOB_STATE_RUNNING);
}

TEST_F(ServerTest, BadSubmissionsAreRefusedWithTheReason) {
  const auto submit = [&](const v1::SubmitJobRequest& request) {
    grpc::ClientContext context;
    v1::SubmitJobResponse response;
    return operator_->SubmitJob(&context, request, &response);
  };
  v1::SubmitJobRequest request;
  request.mutable_job()->set_spec_json("{\"name\": \"x\"}");
  grpc::Status status = submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("scheduler"));
  EXPECT_THAT(status.error_message(), HasSubstr("\n"));  // every error
  request.mutable_job()->set_spec_json(*Canonical("demo", 1));
  status = submit(request);
  EXPECT_THAT(status.error_message(), HasSubstr("did not come with the job"));
  request.mutable_job()->set_config_digest(std::string(32, 'x'));
  EXPECT_THAT(submit(request).error_message(), HasSubstr("config_digest"));
  request.mutable_job()->clear_config_digest();
  v1::FileDigest& initial = *request.mutable_job()->mutable_initial_model();
  initial.set_sha256("short");
  EXPECT_THAT(submit(request).error_message(), HasSubstr("file.sha256"));
  PutFile("not a model", &initial);
  EXPECT_EQ(submit(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);

  v1::PutFileRequest put;
  *put.mutable_file() = initial;
  put.mutable_chunk()->set_data("x");
  grpc::ClientContext context;
  v1::PutFileResponse response;
  status = operator_->PutFile(&context, put, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS) << "no checksum";
  initial.set_bytes(uint64_t{1} << 50);
  status = PutPiece(initial, 0, "x", &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("limits.max_update_bytes"));
}

TEST_F(ServerTest, AProgramComesWithItsJobAndOutlivesARestart) {
  std::string program;
  for (int i = 0; i < 3000; ++i) program.push_back(static_cast<char>(i * i));
  nlohmann::json json = nlohmann::json::parse(*Canonical("demo", 2));
  const ProgramSpec spec = ProgramSpecOf(program);
  json["model"] = {{"program", {{"sha256", spec.sha256}, {"bytes", spec.bytes}}}};
  v1::SubmitJobRequest request;
  request.mutable_job()->set_spec_json(json.dump());
  const auto submit = [&](v1::SubmitJobResponse* response) {
    grpc::ClientContext context;
    return operator_->SubmitJob(&context, request, response);
  };
  v1::SubmitJobResponse submitted;
  EXPECT_THAT(submit(&submitted).error_message(),
              HasSubstr("job.model.program: its file was not put before the job"));
  v1::FileDigest name;
  PutFile(program, &name);
  ASSERT_TRUE(submit(&submitted).ok());
  const std::string plain = Submit("plain", 1);

  const auto fetch = [&](const std::string& job, uint64_t offset, std::string* bytes) {
    grpc::ClientContext context;
    v1::FetchProgramRequest wanted;
    wanted.set_client_id("c1");
    wanted.set_job_id(job);
    wanted.set_offset(offset);
    const auto stream = coordinator_->FetchProgram(&context, wanted);
    v1::FetchProgramResponse part;
    while (stream->Read(&part)) {
      EXPECT_EQ(part.chunk().offset(), offset + bytes->size());
      EXPECT_EQ(part.chunk().xxh3(), Xxh3(part.chunk().data()));
      EXPECT_LE(part.chunk().data().size(), 1024u);
      *bytes += part.chunk().data();
    }
    return stream->Finish();
  };
  for (int run = 0; run < 2; ++run) {
    std::string whole, rest, none;
    EXPECT_EQ(fetch(submitted.job_id(), 0, &none).error_code(),
              run == 0 ? grpc::StatusCode::FAILED_PRECONDITION : grpc::StatusCode::OK)
        << "enrolled only from then on";
    ASSERT_TRUE(Enroll("c1").ok());
    EXPECT_TRUE(fetch(submitted.job_id(), 0, &whole).ok());
    EXPECT_EQ(whole, program);
    EXPECT_TRUE(fetch(submitted.job_id(), 2500, &rest).ok());
    EXPECT_EQ(rest, program.substr(2500));
    EXPECT_TRUE(fetch(submitted.job_id(), 3000, &none).ok());
    EXPECT_EQ(fetch(submitted.job_id(), 3001, &none).error_code(), grpc::StatusCode::OUT_OF_RANGE);
    EXPECT_EQ(fetch(plain, 0, &none).error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(fetch("nobody", 0, &none).error_code(), grpc::StatusCode::NOT_FOUND);
    server_.reset();
    Start();
  }
}

TEST_F(ServerTest, HealthIsToldOverHttp) {
  httplib::Client http("127.0.0.1", server_->http_port());
  for (const char* path : {"/healthz", "/readyz"}) {
    const auto answer = http.Get(path);
    ASSERT_TRUE(answer) << path;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "{\"status\":\"ok\"}\n");
  }
  EXPECT_EQ(http.Get("/nothing")->status, 404);
}

TEST_F(ServerTest, ShuttingDownAnswersAHeldCheckIn) {
  ASSERT_TRUE(Enroll("c1").ok());
  v1::CheckInResponse response;
  std::promise<void> asked;
  auto held = std::async(std::launch::async, [&] {
    asked.set_value();
    return CheckIn("c1", 60, &response);
  });
  asked.get_future().wait();
  v1::Client client;
  do {  // until the server holds it
    grpc::ClientContext context;
    v1::GetClientRequest request;
    request.set_client_id("c1");
    ASSERT_TRUE(operator_->GetClient(&context, request, &client).ok());
  } while (client.state() != "idle");
  server_->Shutdown();
  EXPECT_TRUE(held.get().ok());
  EXPECT_TRUE(response.has_retry());
}

TEST_F(ServerTest, ARestartGoesOnWithTheJob) {
  ASSERT_TRUE(Enroll("c1").ok());
  Submit("demo", 1);
  const v1::WorkOrder work = GetWork("c1");
  const std::string payload = Payload(2);
  v1::UploadUpdateResponse response;
  EXPECT_TRUE(Upload(Header(work, "c1", payload), payload, 0, 2048, &response).ok());
  server_.reset();
  Start();
  EXPECT_TRUE(Upload(Header(work, "c1", payload), payload, 2048, 4000, &response).ok());
  EXPECT_EQ(response.state(), v1::UploadUpdateResponse::STATE_ACCEPTED);
}

TEST(ServerCreateTest, ATakenAddressAndAMissingKeyAreErrors) {
  RealClock clock;
  const TempDir one, two;
  auto first = Server::Create(DevConfig(one.path()), &clock);
  ASSERT_THAT(first, IsOk());
  ServerConfig same = DevConfig(two.path());
  same.listen = absl::StrCat("127.0.0.1:", (*first)->grpc_port());
  EXPECT_THAT(Server::Create(same, &clock), StatusIs(absl::StatusCode::kUnavailable));
  ServerConfig locked = DevConfig(one.path());
  EXPECT_THAT(Server::Create(locked, &clock), StatusIs(absl::StatusCode::kFailedPrecondition));
  ServerConfig keyless = DevConfig(two.path());
  keyless.tls =
      TlsConfig{.certificate = "/nowhere.pem", .key = "", .client_ca = "", .operators = {}};
  EXPECT_THAT(Server::CheckFiles(keyless),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere.pem")));
}

}  // namespace
}  // namespace tributary::test
