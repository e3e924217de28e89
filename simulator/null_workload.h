// NullWorkload: work orders without any work, for what only schedulers decide: how long, how
// late, how many. The model is one weight that stays 0; needs no data set and no LibTorch.
#ifndef TRIBUTARY_SIMULATOR_NULL_WORKLOAD_H_
#define TRIBUTARY_SIMULATOR_NULL_WORKLOAD_H_

#include <memory>
#include <string>

#include "server/coordinator/job_spec.h"
#include "simulator/workload.h"

namespace tributary {

class NullWorkload final : public Workload {
 public:
  // InvalidArgument: the job's codec.
  static absl::StatusOr<std::unique_ptr<Workload>> Create(const JobSpec& job);

  int64_t Examples(int64_t, int64_t) const override { return 1; }
  int64_t TrainFlopsPerExample() const override { return 0; }
  absl::Status CheckModel(const ParamVector& model) const override;
  Pending<ParamVector> MakeFirstModel(WorkloadTask task) override;
  Pending<TrainedUpdate> Train(WorkloadTask task) override;
  Pending<std::vector<EvalResult>> Evaluate(WorkloadTask task) override;
  Pending<TrainedUpdate> Contribute(WorkloadTask task, CollectRequest request) override;
  absl::Duration cpu_time() const override { return absl::ZeroDuration(); }

 private:
  NullWorkload(LayoutPtr layout, std::string payload)
      : layout_(std::move(layout)), payload_(std::move(payload)) {}
  const LayoutPtr layout_;
  const std::string payload_;  // every update's
};

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_NULL_WORKLOAD_H_
