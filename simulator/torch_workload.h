// TorchWorkload: real training with LibTorch on real data, on a TrainPool. Which thread does
// what, and when, changes no result.
#ifndef TRIBUTARY_SIMULATOR_TORCH_WORKLOAD_H_
#define TRIBUTARY_SIMULATOR_TORCH_WORKLOAD_H_

#include <memory>
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
  // where.
  static absl::StatusOr<std::unique_ptr<Workload>> Create(const SimulationFile& file, int threads);

  int64_t Examples(int64_t client) const override { return View(client).size(); }
  int64_t TrainFlopsPerExample() const override { return flops_per_example_; }
  absl::Status CheckModel(const ParamVector& model) const override;
  std::future<absl::StatusOr<ParamVector>> MakeFirstModel(WorkloadTask task) override;
  std::future<absl::StatusOr<TrainedUpdate>> Train(WorkloadTask task) override;
  std::future<absl::StatusOr<EvalResult>> Evaluate(WorkloadTask task) override;
  absl::Duration cpu_time() const override { return pool_.busy(); }

 private:
  TorchWorkload(const JobSpec& job, int threads);
  const DataView& View(int64_t client) const { return views_[static_cast<size_t>(client)]; }
  absl::StatusOr<TrainedUpdate> TrainNow(const WorkloadTask& task, TorchWorker& worker) const;

  const JobInfo job_;
  DataShape shape_;
  std::vector<DataView> views_;  // by client; the last one is the test set
  int64_t flops_per_example_ = 0;
  ErrorFeedback error_feedback_ = ErrorFeedback::kOff;
  std::unique_ptr<const Codec> codec_;
  TrainPool pool_;  // last: its threads stop before what they use goes
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_TORCH_WORKLOAD_H_
