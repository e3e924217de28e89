#include "tests/server/operator/fake_operator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/digest.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"

namespace tributary::test {
namespace {

constexpr uint64_t kChunkBytes = 16;

}  // namespace

FakeOperator::FakeOperator() {
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  server_ = builder.BuildAndStart();
  TRIB_CHECK(server_ != nullptr);
  address_ = absl::StrCat("127.0.0.1:", port);
}

FakeOperator::~FakeOperator() { server_->Shutdown(); }

std::map<std::string, std::string> FakeOperator::files() const {
  MutexLock lock(mu_);
  return files_;
}

std::vector<v1::SubmitJobRequest> FakeOperator::submitted() const {
  MutexLock lock(mu_);
  return submitted_;
}
std::vector<v1::ExportModelRequest> FakeOperator::exported() const {
  MutexLock lock(mu_);
  return exported_;
}
std::vector<v1::ExportJobRequest> FakeOperator::exported_jobs() const {
  MutexLock lock(mu_);
  return exported_jobs_;
}
std::vector<std::string> FakeOperator::verbs() const {
  MutexLock lock(mu_);
  return verbs_;
}
void FakeOperator::AwaitWatchers(int count) const {
  MutexLock lock(mu_);
  while (watchers_ < count) changed_.Wait(mu_);
}

grpc::Status FakeOperator::Find(const std::string& job_id, v1::Job* job) const {
  if (refuse_all) return *refuse_all;
  if (job_id != "j-1" || states.empty()) {
    return {grpc::StatusCode::NOT_FOUND, absl::StrCat("there is no job '", job_id, "'")};
  }
  *job = states.back();
  return grpc::Status::OK;
}

grpc::Status FakeOperator::Steer(const char* verb, const std::string& job_id, v1::JobState state,
                                 v1::Job* job) {
  const grpc::Status found = Find(job_id, job);
  if (!found.ok()) return found;
  job->set_state(state);
  MutexLock lock(mu_);
  verbs_.push_back(absl::StrCat(verb, " ", job_id));
  return grpc::Status::OK;
}

grpc::Status FakeOperator::PutFile(Context*, const v1::PutFileRequest* request,
                                   v1::PutFileResponse* response) {
  if (refuse_all) return *refuse_all;
  MutexLock lock(mu_);
  std::string& file = files_[request->file().sha256()];
  const v1::Chunk& chunk = request->chunk();
  if (put_breaks_at && chunk.offset() >= *put_breaks_at && !chunk.data().empty()) {
    put_breaks_at.reset();
    if (put_forgets) file.clear();
    return {grpc::StatusCode::UNAVAILABLE, "the line broke"};
  }
  if (chunk.offset() == file.size() && chunk.xxh3() == Xxh3(chunk.data())) file += chunk.data();
  response->set_bytes(file.size());
  return grpc::Status::OK;
}

grpc::Status FakeOperator::SubmitJob(Context*, const v1::SubmitJobRequest* request,
                                     v1::SubmitJobResponse* response) {
  if (refuse_all) return *refuse_all;
  MutexLock lock(mu_);
  submitted_.push_back(*request);
  response->set_job_id("j-1");
  return grpc::Status::OK;
}

grpc::Status FakeOperator::ListJobs(Context*, const v1::ListJobsRequest*,
                                    v1::ListJobsResponse* response) {
  if (refuse_all) return *refuse_all;
  if (!states.empty()) *response->add_jobs() = states.back();
  return grpc::Status::OK;
}

grpc::Status FakeOperator::GetJob(Context*, const v1::GetJobRequest* request, v1::Job* job) {
  return Find(request->job_id(), job);
}

grpc::Status FakeOperator::WatchJob(Context* context, const v1::WatchJobRequest* request,
                                    Reader<v1::Job>* writer) {
  v1::Job job;
  const grpc::Status found = Find(request->job_id(), &job);
  if (!found.ok()) return found;
  for (const v1::Job& state : states) writer->Write(state);
  MutexLock lock(mu_);
  ++watchers_;
  changed_.NotifyAll();
  while (watch_hangs && !context->IsCancelled()) changed_.WaitFor(mu_, absl::Milliseconds(10));
  return grpc::Status::OK;
}

grpc::Status FakeOperator::PauseJob(Context*, const v1::PauseJobRequest* request, v1::Job* job) {
  return Steer("pause", request->job_id(), v1::JOB_STATE_PAUSED, job);
}
grpc::Status FakeOperator::ResumeJob(Context*, const v1::ResumeJobRequest* request, v1::Job* job) {
  return Steer("resume", request->job_id(), v1::JOB_STATE_RUNNING, job);
}
grpc::Status FakeOperator::CancelJob(Context*, const v1::CancelJobRequest* request, v1::Job* job) {
  return Steer("cancel", request->job_id(), v1::JOB_STATE_CANCELLED, job);
}

grpc::Status FakeOperator::NextTask(Context*, const v1::NextTaskRequest* request, v1::Job* job) {
  return Steer("next-task", request->job_id(), v1::JOB_STATE_RUNNING, job);
}

grpc::Status FakeOperator::ListVersions(Context*, const v1::ListVersionsRequest* request,
                                        v1::ListVersionsResponse* response) {
  v1::Job job;
  const grpc::Status found = Find(request->job_id(), &job);
  for (const v1::ModelVersion& version : versions) *response->add_versions() = version;
  return found;
}

grpc::Status FakeOperator::ExportModel(Context*, const v1::ExportModelRequest* request,
                                       Reader<v1::ExportModelResponse>* writer) {
  v1::Job job;
  const grpc::Status found = Find(request->job_id(), &job);
  if (!found.ok()) return found;
  bool first = false;
  {
    MutexLock lock(mu_);
    exported_.push_back(*request);
    first = exported_.size() == 1;
  }
  if (first && forgets_model_once) return {grpc::StatusCode::NOT_FOUND, "no longer kept"};
  const absl::Span<const float> values = model.values();
  const absl::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * 4);

  v1::ExportModelResponse response;
  v1::ModelHeader* header = response.mutable_header();
  header->set_job_id("j-1");
  header->set_version(3);
  for (const ParamLayout::Tensor& tensor : model.layout()->tensors()) {
    v1::TensorSpec* spec = header->mutable_layout()->add_tensors();
    spec->set_name(tensor.name);
    for (const int64_t size : tensor.shape) spec->add_shape(size);
    spec->set_buffer(tensor.kind == TensorKind::kBuffer);
  }
  header->mutable_layout()->set_digest(model.layout()->digest().ToBytes());
  header->set_model_digest(lies_about_digest ? std::string(32, 'x')
                                             : model.ComputeDigest().ToBytes());
  header->set_total_bytes(bytes.size());
  writer->Write(response);

  for (uint64_t offset = request->offset(); offset < bytes.size(); offset += kChunkBytes) {
    if (first && breaks_at && offset >= *breaks_at) {
      return {grpc::StatusCode::UNAVAILABLE, "connection reset"};
    }
    v1::Chunk* chunk = response.mutable_chunk();
    chunk->set_offset(offset);
    chunk->set_data(std::string(bytes.substr(offset, kChunkBytes)));
    chunk->set_xxh3(Xxh3(chunk->data()));
    writer->Write(response);
  }
  return grpc::Status::OK;
}

grpc::Status FakeOperator::ExportJob(Context*, const v1::ExportJobRequest* request,
                                     Reader<v1::ExportJobResponse>* writer) {
  v1::Job job;
  const grpc::Status found = Find(request->job_id(), &job);
  if (!found.ok()) return found;
  bool first = false;
  {
    MutexLock lock(mu_);
    exported_jobs_.push_back(*request);
    first = exported_jobs_.size() == 1;
  }
  v1::ExportJobResponse response;
  response.mutable_header()->set_job_id("j-1");
  response.mutable_header()->set_version(model.empty() ? -1 : 3);
  writer->Write(response);
  for (const auto& [name, content] : job_files) {
    const auto& have = request->have();
    if (std::find(have.begin(), have.end(), name) != have.end()) continue;
    response.mutable_file()->set_name(name);
    response.mutable_file()->set_total_bytes(content.size());
    writer->Write(response);
    for (uint64_t offset = 0; offset < content.size(); offset += kChunkBytes) {
      if (first && breaks_at && offset >= *breaks_at) {
        return {grpc::StatusCode::UNAVAILABLE, "connection reset"};
      }
      v1::Chunk* chunk = response.mutable_chunk();
      chunk->set_offset(offset);
      chunk->set_data(content.substr(offset, kChunkBytes));
      chunk->set_xxh3(Xxh3(chunk->data()));
      writer->Write(response);
    }
  }
  return grpc::Status::OK;
}

grpc::Status FakeOperator::ListClients(Context*, const v1::ListClientsRequest*,
                                       v1::ListClientsResponse* response) {
  if (refuse_all) return *refuse_all;
  for (const v1::Client& client : clients) *response->add_clients() = client;
  return grpc::Status::OK;
}

grpc::Status FakeOperator::GetClient(Context*, const v1::GetClientRequest* request,
                                     v1::Client* client) {
  if (refuse_all) return *refuse_all;
  for (const v1::Client& known : clients) {
    if (known.client_id() != request->client_id()) continue;
    *client = known;
    return grpc::Status::OK;
  }
  return {grpc::StatusCode::NOT_FOUND,
          absl::StrCat("there is no client '", request->client_id(), "'")};
}

}  // namespace tributary::test
