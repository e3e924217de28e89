// Experiment: the simulated host. Drives the coordinator core on virtual time against a fleet of
// virtual clients, whose real work a Workload does. The result does not depend on the number of
// threads: what happens when is decided by virtual time alone.
#ifndef TRIBUTARY_SIMULATOR_EXPERIMENT_H_
#define TRIBUTARY_SIMULATOR_EXPERIMENT_H_

#include <deque>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "server/coordinator/job_controller.h"
#include "server/coordinator/job_executor.h"
#include "server/store/model_store.h"
#include "simulator/event_queue.h"
#include "simulator/fleet.h"
#include "simulator/run_log.h"
#include "simulator/simulation_spec.h"
#include "simulator/virtual_clients.h"
#include "simulator/workload.h"

namespace tributary {

struct ExperimentOptions {
  int threads = 1;       // of LibTorch training
  std::stop_token stop;  // ends the run with Cancelled
  // Called on the caller's thread after each change of the job. May be empty.
  std::function<void(const JobProgress&, absl::Duration virtual_time)> on_progress;
};

// Thread-compatible.
class Experiment : private SimulatedServer {
 public:
  // Trains with LibTorch: see TorchWorkload::Create, and link tributary_simulator for it.
  // InvalidArgument: what is wrong with the file, and where.
  static absl::StatusOr<std::unique_ptr<Experiment>> Create(SimulationFile file,
                                                            ExperimentOptions options);
  // With any workload for the file's number of clients; the file's data are not read here.
  static absl::StatusOr<std::unique_ptr<Experiment>> Create(SimulationFile file,
                                                            std::unique_ptr<Workload> workload,
                                                            ExperimentOptions options);

  // Runs the job to its end. `log` may be null. FailedPrecondition if nothing more can
  // happen and the job has not ended, or if it failed; Cancelled.
  absl::Status Run(RunLog* log);

  // After Run.
  RunSummary Summary() const;
  const std::vector<VersionMetrics>& metrics() const { return metrics_; }
  absl::StatusOr<ParamVector> Model() const;
  int64_t events() const { return events_; }  // that the coordinator was told
  // CPU time inside training and evaluation; for measurements.
  absl::Duration training_cpu_time() const { return workload_->cpu_time(); }

 private:
  Experiment(SimulationFile file, std::unique_ptr<Workload> workload,
             std::unique_ptr<const Fleet> fleet, ExperimentOptions options);
  absl::Status LoadModel();
  absl::Status WriteFleet(RunLog& log) const;
  absl::Status Loop();

  absl::Time now() const override { return now_; }
  void Deliver(decltype(JobEvent::what) what) override;
  int64_t model_bytes() const { return 4 * executor_->layout()->size(); }
  // Of a raw update of the whole model.
  int64_t dense_update_bytes() const {
    const auto& adapters = executor_->adapters();
    return adapters ? 4 * adapters->ordinary()->size() : model_bytes();
  }
  int64_t DownloadBytes(Version version, Version held) override;
  absl::StatusOr<std::shared_ptr<const ParamVector>> Snapshot(Version version) override;
  void KeepFirstModel(ParamVector model) override { first_model_ = std::move(model); }
  std::shared_ptr<const Mask> mask() const override { return executor_->mask(); }
  absl::StatusOr<CollectRequest> RequestFor(CollectKind kind) const override;
  absl::Status KeepUpdate(WorkKind kind, const UpdateInfo& info, std::string payload) override;
  void Abort(absl::Status status) override { failure_ = std::move(status); }

  void Perform(const JobAction& action);
  void Do(const action::SendWork& a) { clients_.Send(a.order); }
  void Do(const action::RecallWork& a) { clients_.Recall(a.client, a.work_order); }
  void Do(const action::InstallModel& a);
  void Do(const action::PublishVersion& a);
  void Do(const action::DropUpdate& a) { payloads_.erase(a.work_order); }
  void Do(const action::WakeAt& a);
  void Do(const action::RecordEvaluation& a);
  void Do(const action::SetState&) {}
  void Answer(const absl::StatusOr<event::VersionPublished>& published);

  const SimulationFile file_;
  const ExperimentOptions options_;
  const std::unique_ptr<Workload> workload_;
  const std::unique_ptr<const Fleet> fleet_;
  RealClock wall_clock_;  // measures; never decides
  absl::Time wall_start_;
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<JobController> controller_;
  std::unique_ptr<JobExecutor> executor_;

  Happenings queue_;
  VirtualClients clients_;
  absl::Time now_ = absl::UnixEpoch();
  int64_t wishes_ = 0;  // of the coordinator to be woken; the last one counts
  std::deque<decltype(JobEvent::what)> answers_;            // to be delivered before time goes on
  absl::flat_hash_map<WorkOrderId, std::string> payloads_;  // of accepted updates
  ParamVector first_model_;
  // Models that are being worked on. Expired ones go when there are sweep_at_ entries.
  absl::flat_hash_map<Version, std::weak_ptr<const ParamVector>> snapshots_;
  size_t sweep_at_ = 16;
  absl::Status failure_;  // of the experiment, not of a client

  RunLog* log_ = nullptr;
  std::vector<VersionMetrics> metrics_;
  int64_t events_ = 0;
  int64_t uplink_bytes_dense_ = 0;
  double wall_seconds_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_EXPERIMENT_H_
