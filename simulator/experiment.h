// Experiment: the simulated host. Drives the coordinator core on virtual time; its virtual
// clients train for real on a TrainPool. The result does not depend on the number of
// threads: what happens when is decided by virtual time alone.
//
// A work order takes latency + model/downlink, then steps · time per step · jitter, then
// latency + payload/uplink. Making the first model and evaluating take transfer time only.
// One more client, "evaluator", holds the test set and evaluates; it costs no virtual time.
#ifndef TRIBUTARY_SIMULATOR_EXPERIMENT_H_
#define TRIBUTARY_SIMULATOR_EXPERIMENT_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client_sdk/data/readers.h"
#include "common/clock.h"
#include "server/coordinator/job_controller.h"
#include "server/coordinator/job_executor.h"
#include "server/store/model_store.h"
#include "simulator/event_queue.h"
#include "simulator/run_log.h"
#include "simulator/simulation_spec.h"
#include "simulator/speed.h"
#include "simulator/train_pool.h"

namespace tributary {

struct ExperimentOptions {
  int threads = 1;
  std::stop_token stop;  // ends the run with Cancelled
  // Called on the caller's thread after each change of the job. May be empty.
  std::function<void(const JobProgress&, absl::Duration virtual_time)> on_progress;
};

// Thread-compatible.
class Experiment {
 public:
  // Reads the data, deals it out and builds the model once. InvalidArgument: what is wrong with
  // the file, and where.
  static absl::StatusOr<std::unique_ptr<Experiment>> Create(SimulationFile file,
                                                            ExperimentOptions options);

  // Runs the job to its end. `log` may be null. FailedPrecondition if nothing more can
  // happen and the job has not ended, or if it failed; Cancelled.
  absl::Status Run(RunLog* log);

  // After Run.
  RunSummary Summary() const;
  const std::vector<VersionMetrics>& metrics() const { return metrics_; }
  absl::StatusOr<ParamVector> Model() const;
  // CPU time inside LibTorch training and evaluation; for the benchmark.
  absl::Duration training_cpu_time() const { return pool_->busy(); }

 private:
  struct VirtualClient {
    ClientId id;
    DataView view;
    bool evaluate_only = false;
    absl::Duration step_time;
    Rng jitter{0};
    Version cached = -1;  // the version that it holds
  };
  struct Work;  // a work order being worked on

  Experiment(SimulationFile file, ExperimentOptions options);
  absl::Status LoadModel();
  absl::Status Populate();

  void Deliver(JobEvent event);
  void CheckIn(const VirtualClient& client);
  void Perform(const JobAction& action);
  void Do(const action::SendWork& a);
  void Do(const action::RecallWork& a);
  void Do(const action::InstallModel& a);
  void Do(const action::PublishVersion& a);
  void Do(const action::DropUpdate& a);
  void Do(const action::WakeAt& a);
  void Do(const action::RecordEvaluation& a);
  void Do(const action::SetState& a);
  void Answer(const absl::StatusOr<event::VersionPublished>& published);
  void CompleteRow(VersionMetrics& row) const;

  void MakeFirstModel(const std::shared_ptr<Work>& work);
  void Train(const std::shared_ptr<Work>& work);
  void Evaluate(const std::shared_ptr<Work>& work);
  void Trained(const std::shared_ptr<Work>& work);
  void Uploaded(const std::shared_ptr<Work>& work);
  void Fail(const std::shared_ptr<Work>& work, LossCause cause, const absl::Status& status);

  int64_t PlannedSteps(const WorkOrder& order, const VirtualClient& client) const;
  absl::Duration Download(VirtualClient& client, Version version);
  absl::Duration Upload(int64_t bytes) const;
  absl::StatusOr<std::shared_ptr<const ParamVector>> Snapshot(Version version);

  const SimulationFile file_;
  const ExperimentOptions options_;
  const JobInfo job_info_;
  RealClock wall_clock_;  // measures; never decides
  absl::Time wall_start_;
  LoadedData data_;
  std::unique_ptr<SpeedModel> speed_;
  std::unique_ptr<const Codec> codec_;
  std::unique_ptr<ModelStore> store_;
  std::unique_ptr<JobController> controller_;
  std::unique_ptr<JobExecutor> executor_;
  std::map<ClientId, VirtualClient> clients_;

  EventQueue queue_;
  absl::Time now_ = absl::UnixEpoch();
  absl::Time wake_ = absl::InfiniteFuture();
  std::deque<JobEvent> answers_;  // to be delivered before time goes on
  std::map<WorkOrderId, std::shared_ptr<Work>> work_;
  std::map<WorkOrderId, std::string> payloads_;  // of accepted updates
  ParamVector first_model_;
  std::map<Version, std::weak_ptr<const ParamVector>> snapshots_;
  absl::Status failure_;  // of the experiment, not of a client
  int64_t failures_in_a_row_ = 0;

  RunLog* log_ = nullptr;
  std::vector<VersionMetrics> metrics_;
  int64_t downlink_bytes_ = 0;
  int64_t uplink_bytes_dense_ = 0;
  int64_t flops_per_example_ = 0;  // of training
  int64_t train_flops_ = 0;
  double wall_seconds_ = 0;

  std::unique_ptr<TrainPool> pool_;  // last: its threads stop before what they use goes
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_EXPERIMENT_H_
