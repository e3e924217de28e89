// VirtualClients: the clients' side of a simulated run: who is there when, and a work order's
// life in virtual time.
//
// A training order takes the download of its base (nothing if the client has it,
// deltas where the live server would send those) and of the version
// before that if the order wants it, the steps, and the upload. Making the first model and
// evaluating take the download only; the evaluator, one more client with the test set, costs no
// virtual time at all. A client checks in when it comes online and when its order has ended.
//
// An order is lost with LossCause::kAbandoned when it is drawn to drop out or its client goes
// offline; with kNotFinite when it diverges; with kTimedOut when job.liveness_seconds have passed
// since its client vanished: until then a client at work gives signs of life all the time.
#ifndef TRIBUTARY_SIMULATOR_VIRTUAL_CLIENTS_H_
#define TRIBUTARY_SIMULATOR_VIRTUAL_CLIENTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

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

// What happens in virtual time.
struct Happening {
  enum class Kind : uint8_t {
    kTimer,     // the coordinator's; `id` is the number of its wish
    kNextTask,  // everybody's data are now of the next task
    // To a client.
    kArrival,
    kLeaving,
    kMissed,  // vanished for job.liveness_seconds
    kGone,
    kCheckIn,
    // To a client's work order `id`: nothing if the client no longer has it.
    kNobodyThere,
    kDropout,
    kFirstModelMade,
    kTrained,
    kUploaded,
    kEvaluated,
  };
  Kind kind = Kind::kTimer;
  int32_t client = 0;  // its index
  int64_t id = 0;
};
using Happenings = EventQueue<Happening>;

// What the virtual clients know of the other side.
class SimulatedServer {
 public:
  virtual ~SimulatedServer() = default;
  virtual absl::Time now() const = 0;
  // Tells the coordinator what happens now.
  virtual void Deliver(decltype(JobEvent::what) what) = 0;
  // What a client is sent of a version; `held`: the version that it has, -1: none.
  virtual int64_t DownloadBytes(Version version, Version held) = 0;
  virtual absl::StatusOr<std::shared_ptr<const ParamVector>> Snapshot(Version version) = 0;
  virtual std::shared_ptr<const Mask> mask() const = 0;  // of the newest version
  virtual absl::StatusOr<CollectRequest> RequestFor(CollectKind kind) const = 0;
  virtual void KeepFirstModel(ParamVector model) = 0;
  // Checks what such an order brought and keeps it until it is combined. Errors as
  // JobExecutor::Check.
  virtual absl::Status KeepUpdate(WorkKind kind, const UpdateInfo& info, std::string payload) = 0;
  // Ends the run: the experiment is wrong, not a client.
  virtual void Abort(absl::Status status) = 0;
};

// Thread-compatible; the pointers outlive it.
class VirtualClients {
 public:
  VirtualClients(const JobSpec& job, const Fleet* fleet, Workload* workload, Happenings* queue,
                 SimulatedServer* server);

  // Everybody's first check-in, each at its time; the evaluator's comes first.
  void Start();

  // What comes out of the queue, but kTimer.
  void Happen(const Happening& what);
  // Begins to read what this will need: of a hundred thousand clients, it is in no cache.
  void Expect(const Happening& what) const;

  // What the coordinator asks for.
  void Send(const WorkOrder& order);
  void Recall(const ClientId& client, WorkOrderId id);
  // The run has ended: real work that goes on is told to stop.
  void Stop();

  int64_t downlink_bytes() const { return downlink_bytes_; }
  // Of the updates that arrived, and what the whole model would have taken for them.
  int64_t train_flops() const { return train_flops_; }
  int64_t train_flops_dense() const { return train_flops_dense_; }
  // Of the time that training clients were there, the share for which they had a training order;
  // 0 if none was there.
  double Utilisation() const;

 private:
  enum class Presence : uint8_t { kAway, kHere, kVanished };  // kVanished: not yet noticed
  // These two are small: of a hundred thousand, one that has something to do is in no cache.
  struct Work {
    WorkOrderId id = 0;  // 0: none
    Version version = 0;
    int32_t adapter_rank = 0;
    WorkKind kind = WorkKind::kTrain;
    // To come, and of training then what is being uploaded.
    std::variant<std::monostate, Pending<ParamVector>, Pending<TrainedUpdate>,
                 std::unique_ptr<TrainedUpdate>, Pending<std::vector<EvalResult>>>
        result;
  };
  struct alignas(64) Client {  // three lines of a cache
    Work work;
    Version cached = -1;                       // the version that it holds
    std::shared_ptr<const Residual> residual;  // of its last accepted update; null: none
    Rng jitter{0};
    int64_t training_orders = 0;  // so far
    int64_t periods = 0;          // so far
    absl::Time leaves_at = absl::InfiniteFuture();
    Presence presence = Presence::kAway;
  };
  static_assert(sizeof(Client) == 192);

  // The length of all spans together, those that go on included.
  class TotalTime {
   public:
    void Begin(absl::Time at) {
      ++going_on_;
      sum_ -= at - absl::UnixEpoch();
    }
    void End(absl::Time at) {
      --going_on_;
      sum_ += at - absl::UnixEpoch();
    }
    absl::Duration Until(absl::Time now) const {
      return sum_ + going_on_ * (now - absl::UnixEpoch());
    }

   private:
    int64_t going_on_ = 0;
    absl::Duration sum_;  // of their ends, less that of their beginnings
  };

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
  void AwaitNextTask();
  void BeginNextTask();

  void Push(absl::Time at, Happening::Kind kind, int64_t client, WorkOrderId order = 0);
  void HappenToWork(Happening::Kind kind, int64_t client, Work& work);
  Work Take(int64_t client);
  void Lose(int64_t client, LossCause cause, absl::string_view why);
  void Refuse(int64_t client, const absl::Status& status);
  bool GetBase(WorkloadTask& task);

  void MakeFirstModel(int64_t client, const WorkOrder& order);
  void FirstModelMade(int64_t client, Work& work);
  void Train(int64_t client, const WorkOrder& order);
  void Trained(int64_t client, Work& work);
  void Uploaded(int64_t client, Work& work);
  void Contribute(int64_t client, const WorkOrder& order);
  void Evaluate(int64_t client, const WorkOrder& order);
  void Evaluated(int64_t client, Work& work);

  int64_t PlannedSteps(int64_t client, const WorkOrder& order) const;
  absl::Duration Download(int64_t client, Version version);

  const TrainSpec train_;
  const int64_t tasks_;  // 0: the job does not go from task to task
  const absl::Duration liveness_;
  const Fleet* const fleet_;
  Workload* const workload_;
  Happenings* const queue_;
  SimulatedServer* const server_;

  std::vector<Client> clients_;  // the evaluator last
  int64_t next_task_ = 1;        // when all data move at once

  int64_t downlink_bytes_ = 0;
  int64_t train_flops_ = 0;
  int64_t train_flops_dense_ = 0;
  TotalTime busy_;   // of training orders
  TotalTime there_;  // of the presence of training clients
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_VIRTUAL_CLIENTS_H_
