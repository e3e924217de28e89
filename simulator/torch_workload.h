// TorchWorkload: real training with LibTorch on real data, on a TrainPool. Which thread does
// what, and when, changes no result.
#ifndef TRIBUTARY_SIMULATOR_TORCH_WORKLOAD_H_
#define TRIBUTARY_SIMULATOR_TORCH_WORKLOAD_H_

#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "client_sdk/data/dataset.h"
#include "common/codec/codec.h"
#include "common/codec/error_feedback.h"
#include "simulator/simulation_spec.h"
#include "simulator/train_pool.h"
#include "simulator/workload.h"

namespace tributary {

class TorchWorkload final : public Workload {
 public:
  // Reads the data and deals it out, and builds the model once: one that does not fit the data is
  // found here and not in the first training. InvalidArgument: what is wrong with the file, and
  // where. `stop` ends all tasks.
  static absl::StatusOr<std::unique_ptr<Workload>> Create(const SimulationFile& file, int threads,
                                                          std::stop_token stop);

  int64_t Examples(int64_t client, int64_t task) const override {
    return View(client, task).size();
  }
  int64_t TrainFlopsPerExample() const override { return flops_per_example_; }
  absl::Status CheckModel(const ParamVector& model) const override;
  Pending<ParamVector> MakeFirstModel(WorkloadTask task) override;
  Pending<TrainedUpdate> Train(WorkloadTask task) override;
  Pending<std::vector<EvalResult>> Evaluate(WorkloadTask task) override;
  Pending<TrainedUpdate> Contribute(WorkloadTask task, CollectRequest request) override;
  absl::Duration cpu_time() const override { return pool_.busy(); }

 private:
  TorchWorkload(const SimulationFile& file, int threads, std::stop_token stop);
  const DataView& View(int64_t client, int64_t task) const {
    return views_[static_cast<size_t>(task)][static_cast<size_t>(client)];
  }
  absl::Status DealOut(const SimulationFile& file);
  // What `body` makes of a worker and a stop token, on the pool.
  template <typename T, typename Body>
  Pending<T> Start(absl::Time needed_at, Body body);
  absl::StatusOr<TrainedUpdate> TrainNow(const WorkloadTask& task, TorchWorker& worker,
                                         std::stop_token stop) const;
  absl::StatusOr<TrainedUpdate> TrainAdapterNow(const WorkloadTask& task, const TrainTask& train,
                                                TorchWorker& worker) const;
  // What the task's version is worked with.
  absl::StatusOr<std::shared_ptr<const ParamVector>> Evaluated(const WorkloadTask& task) const;
  absl::StatusOr<TrainedUpdate> ContributeNow(const WorkloadTask& task,
                                              const CollectRequest& request, TorchWorker& worker,
                                              std::stop_token stop) const;

  const JobInfo job_;
  const std::stop_token stop_;
  DataShape shape_;
  std::vector<std::vector<DataView>> views_;  // by task, by client; the last one is the test set
  int64_t flops_per_example_ = 0;
  std::optional<LoraTerms> terms_;  // absent: clients train the model
  ErrorFeedback error_feedback_ = ErrorFeedback::kOff;
  std::unique_ptr<const Codec> codec_;
  TrainPool pool_;  // last: its threads stop before what they use goes
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_TORCH_WORKLOAD_H_
