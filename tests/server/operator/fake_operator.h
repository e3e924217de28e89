// FakeOperator: an Operator service on a loopback port that answers from plain fields.
#ifndef TRIBUTARY_TESTS_SERVER_OPERATOR_FAKE_OPERATOR_H_
#define TRIBUTARY_TESTS_SERVER_OPERATOR_FAKE_OPERATOR_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/params/param_vector.h"
#include "grpcpp/server.h"
#include "tributary/v1/operator.grpc.pb.h"

namespace tributary::test {

// Set the fields before the first call.
class FakeOperator final : public v1::Operator::Service {
 public:
  FakeOperator();
  ~FakeOperator() override;

  const std::string& address() const { return address_; }  // "127.0.0.1:port"

  std::vector<v1::Job> states;  // of the job "j-1": the last one is now, WatchJob tells them all
  bool watch_hangs = false;     // after the last state, until the call is cancelled
  std::vector<v1::ModelVersion> versions;
  std::vector<v1::Client> clients;
  ParamVector model;                  // version 3 of j-1
  std::optional<uint64_t> breaks_at;  // the first export ends there with UNAVAILABLE
  // What j-1 left, by name and content; `breaks_at` then counts from the start of each file.
  std::vector<std::pair<std::string, std::string>> job_files;
  bool forgets_model_once = false;  // the first ExportModel is NOT_FOUND
  bool lies_about_digest = false;   // in ModelHeader
  std::optional<grpc::Status> refuse_all;

  std::optional<uint64_t> put_breaks_at;  // the first piece there is UNAVAILABLE
  bool put_forgets = false;               // then what came before is gone

  // What was asked. Files by their SHA-256, as bytes.
  std::map<std::string, std::string> files() const;
  std::vector<v1::SubmitJobRequest> submitted() const;
  std::vector<v1::ExportModelRequest> exported() const;
  std::vector<v1::ExportJobRequest> exported_jobs() const;
  std::vector<std::string> verbs() const;  // "pause j-1"
  void AwaitWatchers(int count) const;     // WatchJob has been called so often

 private:
  template <typename T>
  using Reader = grpc::ServerWriter<T>;
  using Context = grpc::ServerContext;

  grpc::Status PutFile(Context*, const v1::PutFileRequest*, v1::PutFileResponse*) override;
  grpc::Status SubmitJob(Context*, const v1::SubmitJobRequest*, v1::SubmitJobResponse*) override;
  grpc::Status ListJobs(Context*, const v1::ListJobsRequest*, v1::ListJobsResponse*) override;
  grpc::Status GetJob(Context*, const v1::GetJobRequest*, v1::Job*) override;
  grpc::Status WatchJob(Context*, const v1::WatchJobRequest*, Reader<v1::Job>*) override;
  grpc::Status PauseJob(Context*, const v1::PauseJobRequest*, v1::Job*) override;
  grpc::Status ResumeJob(Context*, const v1::ResumeJobRequest*, v1::Job*) override;
  grpc::Status CancelJob(Context*, const v1::CancelJobRequest*, v1::Job*) override;
  grpc::Status NextTask(Context*, const v1::NextTaskRequest*, v1::Job*) override;
  grpc::Status ListVersions(Context*, const v1::ListVersionsRequest*,
                            v1::ListVersionsResponse*) override;
  grpc::Status ExportModel(Context*, const v1::ExportModelRequest*,
                           Reader<v1::ExportModelResponse>*) override;
  grpc::Status ExportJob(Context*, const v1::ExportJobRequest*,
                         Reader<v1::ExportJobResponse>*) override;
  grpc::Status ListClients(Context*, const v1::ListClientsRequest*,
                           v1::ListClientsResponse*) override;
  grpc::Status GetClient(Context*, const v1::GetClientRequest*, v1::Client*) override;

  grpc::Status Find(const std::string& job_id, v1::Job* job) const;
  grpc::Status Steer(const char* verb, const std::string& job_id, v1::JobState state, v1::Job* job);

  mutable Mutex mu_;
  mutable CondVar changed_;
  std::map<std::string, std::string> files_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::SubmitJobRequest> submitted_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::ExportModelRequest> exported_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::ExportJobRequest> exported_jobs_ ABSL_GUARDED_BY(mu_);
  std::vector<std::string> verbs_ ABSL_GUARDED_BY(mu_);
  int watchers_ ABSL_GUARDED_BY(mu_) = 0;
  std::string address_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SERVER_OPERATOR_FAKE_OPERATOR_H_
