#include "simulator/null_workload.h"

#include <utility>

#include "common/codec/update_payload.h"
#include "common/status_macros.h"

namespace tributary {
absl::StatusOr<std::unique_ptr<Workload>> NullWorkload::Create(const JobSpec& job) {
  TRIB_ASSIGN_OR_RETURN(const auto codec, CreateCodec(job.codec));
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, ParamLayout::Create({{.name = "weight", .shape = {1}}}));
  std::string payload =
      EncodeUpdate(*codec, ParamVector(layout), {.layout = layout, .rng = Rng(0)});
  return std::unique_ptr<Workload>(new NullWorkload(std::move(layout), std::move(payload)));
}

absl::Status NullWorkload::CheckModel(const ParamVector& model) const {
  if (model.layout()->digest() == layout_->digest()) return absl::OkStatus();
  return absl::InvalidArgumentError("a run without training has a model of one weight");
}

Pending<ParamVector> NullWorkload::MakeFirstModel(WorkloadTask) {
  return [this] { return ParamVector(layout_); };
}

// Made when it is asked for: a result that waits costs memory.
Pending<TrainedUpdate> NullWorkload::Train(WorkloadTask task) {
  return [this, steps = task.steps] {
    return TrainedUpdate{
        .result = {.num_examples = 1, .local_steps = steps, .examples_seen = steps},
        .payload = payload_};
  };
}

Pending<std::vector<EvalResult>> NullWorkload::Evaluate(WorkloadTask task) {
  return [tasks = task.order.tasks] {
    return std::vector<EvalResult>(static_cast<size_t>(tasks), {.num_examples = 1});
  };
}

Pending<TrainedUpdate> NullWorkload::Contribute(WorkloadTask task, CollectRequest request) {
  return [steps = task.steps, layout = std::move(request.layout)] {
    return TrainedUpdate{
        .result = {.num_examples = 1, .local_steps = steps, .examples_seen = steps},
        .payload = std::string(static_cast<size_t>(layout->size()) * sizeof(float), '\0')};
  };
}

}  // namespace tributary
