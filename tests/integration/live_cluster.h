// LiveCluster: a coordinator on a loopback port, the operator's side of it, and SDK clients
// on threads of their own.
//
//   LiveCluster cluster(dir.path());
//   const std::string job = cluster.Submit(job_json);
//   cluster.AddClient("a", std::make_unique<FakeTrainer>(layout));
//   const v1::Job ended = cluster.AwaitEnd(job);
#ifndef TRIBUTARY_TESTS_INTEGRATION_LIVE_CLUSTER_H_
#define TRIBUTARY_TESTS_INTEGRATION_LIVE_CLUSTER_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client_sdk/client.h"
#include "common/clock.h"
#include "nlohmann/json.hpp"
#include "server/server.h"
#include "tributary/v1/operator.grpc.pb.h"

namespace tributary::test {

// Used by one thread. Failures are GoogleTest failures.
class LiveCluster {
 public:
  // Starts a coordinator whose state is under `data_dir`.
  explicit LiveCluster(std::string data_dir, LimitsConfig limits = {});
  ~LiveCluster();  // stops clients, then the coordinator

  std::string address() const;
  ClientOptions Options(const std::string& id) const;

  // `job`: the job section; `program`: what its model.program stands for. Returns the job's id.
  std::string Submit(const nlohmann::json& job, const std::string& program = "");
  // Runs a client until the cluster ends.
  void AddClient(const std::string& id, std::unique_ptr<Trainer> trainer,
                 bool evaluate_only = false);
  void AddClient(ClientOptions options, std::unique_ptr<Trainer> trainer);

  // Watches the job until `done` holds of it or it has ended; fails after `limit`.
  v1::Job Await(const std::string& job, const std::function<bool(const v1::Job&)>& done,
                absl::Duration limit = absl::Seconds(60));
  v1::Job AwaitEnd(const std::string& job, absl::Duration limit = absl::Seconds(60)) {
    return Await(
        job, [](const v1::Job&) { return false; }, limit);
  }
  std::vector<v1::ModelVersion> Versions(const std::string& job);

  // Ends the coordinator and starts one on the same port and data: clients reconnect.
  void Restart();

 private:
  struct RunningClient {
    std::unique_ptr<Client> client;
    std::thread thread;
  };
  static bool Ended(const v1::Job& job);
  static void Fail(const std::string& why);
  void Start(int port);

  RealClock clock_;
  const std::string data_dir_;
  const LimitsConfig limits_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::Operator::Stub> operator_;
  std::vector<RunningClient> clients_;
};

// The digest of the job's newest version, hexadecimal.
std::string NewestDigest(const std::vector<v1::ModelVersion>& versions);

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_INTEGRATION_LIVE_CLUSTER_H_
