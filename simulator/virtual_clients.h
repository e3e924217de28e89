// VirtualClients: the clients' side of a simulated run: who is there when, and a work order's
// life in virtual time.
//
// A training order takes the download of its base (nothing if the client has it), the steps, and
// the upload. Making the first model and evaluating take the download only; the evaluator, one
// more client with the test set, costs no virtual time at all. A client checks in when it comes
// online and when its order has ended.
//
// An order is lost with LossCause::kAbandoned when it is drawn to drop out, diverges, or its
// client goes offline; with kTimedOut when job.liveness_seconds have passed since its client
// vanished: until then a client at work gives signs of life all the time.
#ifndef TRIBUTARY_SIMULATOR_VIRTUAL_CLIENTS_H_
#define TRIBUTARY_SIMULATOR_VIRTUAL_CLIENTS_H_

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rng.h"
#include "server/coordinator/events.h"
#include "server/coordinator/job_spec.h"
#include "simulator/event_queue.h"
#include "simulator/fleet.h"
#include "simulator/workload.h"

namespace tributary {

// What the virtual clients know of the other side.
class SimulatedServer {
 public:
  virtual ~SimulatedServer() = default;
  virtual absl::Time now() const = 0;
  // Tells the coordinator what happens now.
  virtual void Deliver(decltype(JobEvent::what) what) = 0;
  virtual int64_t model_bytes() const = 0;
  virtual absl::StatusOr<std::shared_ptr<const ParamVector>> Snapshot(Version version) = 0;
  virtual void KeepFirstModel(ParamVector model) = 0;
  // Checks a payload and keeps it until it is combined. Errors as JobExecutor::Check.
  virtual absl::Status KeepUpdate(const UpdateInfo& info, std::string payload) = 0;
  // Ends the run: the experiment is wrong, not a client.
  virtual void Abort(absl::Status status) = 0;
};

// Thread-compatible; the pointers outlive it.
class VirtualClients {
 public:
  VirtualClients(const JobSpec& job, const Fleet* fleet, Workload* workload, EventQueue* queue,
                 SimulatedServer* server, std::stop_token stop);
  ~VirtualClients();

  // Everybody's first check-in, each at its time; the evaluator's comes first.
  void Start();

  // What the coordinator asks for.
  void Send(const WorkOrder& order);
  void Recall(WorkOrderId id);
  // The run has ended: real work that goes on is told to stop.
  void Stop();

  int64_t downlink_bytes() const { return downlink_bytes_; }
  int64_t train_flops() const { return train_flops_; }  // of the updates that arrived
  // Of the time that training clients were there, the share for which they had a training order;
  // 0 if none was there.
  double Utilisation() const;

 private:
  enum class Presence : uint8_t { kAway, kHere, kVanished };  // kVanished: not yet noticed
  struct Client {
    Presence presence = Presence::kAway;
    WorkOrderId order = 0;                     // its work; 0: none
    Version cached = -1;                       // the version that it holds
    std::shared_ptr<const Residual> residual;  // of its last accepted update; null: none
    Rng jitter{0};
    int64_t training_orders = 0;  // so far
    int64_t periods = 0;          // so far
    absl::Time came_at;
    absl::Time leaves_at = absl::InfiniteFuture();
  };
  struct Work;

  Client& At(int64_t client) { return clients_[static_cast<size_t>(client)]; }
  bool IsEvaluator(int64_t client) const { return client == fleet_->size(); }
  ClientId Id(int64_t client) const;
  int64_t IndexOf(const ClientId& id) const;

  void AwaitNextPeriod(int64_t client);
  void Arrive(int64_t client);
  void Leave(int64_t client);
  void Depart(int64_t client, LossCause cause, absl::string_view why);
  void CheckInNow(int64_t client);
  void CheckInLater(int64_t client);

  Work* Find(WorkOrderId id);
  std::unique_ptr<Work> Take(WorkOrderId id);
  void Lose(WorkOrderId id, LossCause cause, absl::string_view why);
  void Refuse(WorkOrderId id, LossCause cause, const absl::Status& status);
  WorkloadTask TaskOf(const Work& work, absl::Time needed_at) const;
  bool GetBase(WorkloadTask& task);

  void MakeFirstModel(Work& work);
  void FirstModelMade(WorkOrderId id);
  void Train(Work& work);
  void Trained(WorkOrderId id);
  void Uploaded(WorkOrderId id);
  void Evaluate(Work& work);
  void Evaluated(WorkOrderId id);

  int64_t PlannedSteps(const Work& work) const;
  absl::Duration Download(int64_t client, Version version);

  const TrainSpec train_;
  const absl::Duration liveness_;
  const Fleet* const fleet_;
  Workload* const workload_;
  EventQueue* const queue_;
  SimulatedServer* const server_;
  const std::stop_token stop_;

  std::vector<Client> clients_;  // the evaluator last
  absl::flat_hash_map<WorkOrderId, std::unique_ptr<Work>> work_;
  int64_t refused_in_a_row_ = 0;

  int64_t downlink_bytes_ = 0;
  int64_t train_flops_ = 0;
  absl::Duration busy_;   // of orders that have ended
  absl::Duration there_;  // of clients that have left
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_VIRTUAL_CLIENTS_H_
