#include "tests/integration/live_cluster.h"

#include <grpcpp/grpcpp.h>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "gtest/gtest.h"
#include "server/coordinator/job_spec.h"

namespace tributary::test {

LiveCluster::LiveCluster(std::string data_dir, LimitsConfig limits)
    : data_dir_(std::move(data_dir)), limits_(limits) {
  Start(0);
}

LiveCluster::~LiveCluster() {
  for (RunningClient& running : clients_) running.client->Stop();
  for (RunningClient& running : clients_) running.thread.join();
}

void LiveCluster::Start(int port) {
  ServerConfig config = DevConfig(data_dir_);
  config.listen = absl::StrCat("127.0.0.1:", port);
  config.limits = limits_;
  auto server = Server::Create(config, &clock_);
  if (!server.ok()) return Fail(server.status().ToString());
  server_ = *std::move(server);
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  operator_ = v1::Operator::NewStub(
      grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments));
}

void LiveCluster::Restart() {
  const int port = server_->grpc_port();
  server_.reset();
  Start(port);
}

std::string LiveCluster::address() const {
  return absl::StrCat("127.0.0.1:", server_->grpc_port());
}

ClientOptions LiveCluster::Options(const std::string& id) const {
  ClientOptions options;
  options.server = address();
  options.id = ClientId(id);
  options.retry.first_delay = absl::Milliseconds(20);
  options.retry.max_delay = absl::Milliseconds(200);
  return options;
}

std::string LiveCluster::Submit(const nlohmann::json& job, const std::string& program) {
  const auto spec = ParseJobSpecJson(job.dump());
  if (!spec.ok()) {
    Fail(spec.status().ToString());
    return "";
  }
  v1::SubmitJobRequest request;
  request.mutable_job()->set_spec_json(CanonicalJson(*spec));
  request.mutable_job()->set_config_digest(ConfigDigest(*spec).ToBytes());
  request.set_request_id(spec->name);
  if (spec->model.program) {
    v1::PutFileRequest put;
    put.mutable_file()->set_sha256(Sha256::Of(program).ToBytes());
    put.mutable_file()->set_bytes(program.size());
    put.mutable_chunk()->set_data(program);
    put.mutable_chunk()->set_xxh3(Xxh3(program));
    v1::PutFileResponse there;
    grpc::ClientContext context;
    const grpc::Status status = operator_->PutFile(&context, put, &there);
    if (!status.ok()) Fail(status.error_message());
  }
  v1::SubmitJobResponse response;
  grpc::ClientContext context;
  const grpc::Status status = operator_->SubmitJob(&context, request, &response);
  if (!status.ok()) Fail(status.error_message());
  return response.job_id();
}

void LiveCluster::AddClient(const std::string& id, std::unique_ptr<Trainer> trainer,
                            bool evaluate_only) {
  ClientOptions options = Options(id);
  options.evaluate_only = evaluate_only;
  AddClient(std::move(options), std::move(trainer));
}

void LiveCluster::AddClient(ClientOptions options, std::unique_ptr<Trainer> trainer) {
  auto client = Client::Create(std::move(options), std::move(trainer));
  if (!client.ok()) return Fail(client.status().ToString());
  RunningClient& running = clients_.emplace_back();
  running.client = *std::move(client);
  running.thread = std::thread([c = running.client.get()] {
    const absl::Status status = c->Run();
    if (!status.ok() && !absl::IsCancelled(status)) Fail(status.ToString());
  });
}

v1::Job LiveCluster::Await(const std::string& job, const std::function<bool(const v1::Job&)>& done,
                           absl::Duration limit) {
  v1::WatchJobRequest request;
  request.set_job_id(job);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(clock_.Now() + limit));
  const auto stream = operator_->WatchJob(&context, request);
  v1::Job state;
  while (stream->Read(&state)) {
    if (done(state) || Ended(state)) {
      context.TryCancel();
      return state;
    }
  }
  Fail(absl::StrCat("the watch ended: ", stream->Finish().error_message(),
                    "; last seen: ", state.ShortDebugString()));
  return state;
}

std::vector<v1::ModelVersion> LiveCluster::Versions(const std::string& job) {
  v1::ListVersionsRequest request;
  request.set_job_id(job);
  v1::ListVersionsResponse response;
  grpc::ClientContext context;
  const grpc::Status status = operator_->ListVersions(&context, request, &response);
  if (!status.ok()) Fail(status.error_message());
  return {response.versions().begin(), response.versions().end()};
}

bool LiveCluster::Ended(const v1::Job& job) {
  return job.state() == v1::JOB_STATE_DONE || job.state() == v1::JOB_STATE_FAILED ||
         job.state() == v1::JOB_STATE_CANCELLED;
}

void LiveCluster::Fail(const std::string& why) { ADD_FAILURE() << why; }

std::string NewestDigest(const std::vector<v1::ModelVersion>& versions) {
  if (versions.empty()) return "";
  const auto digest = Digest::FromBytes(versions.front().model_digest());
  return digest.ok() ? digest->ToHex() : digest.status().ToString();
}

}  // namespace tributary::test
