#include "simulator/null_workload.h"

#include <utility>

#include "common/codec/pipeline.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

template <typename T>
std::future<absl::StatusOr<T>> Ready(T value) {
  std::promise<absl::StatusOr<T>> promise;
  promise.set_value(std::move(value));
  return promise.get_future();
}

}  // namespace

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

std::future<absl::StatusOr<ParamVector>> NullWorkload::MakeFirstModel(WorkloadTask) {
  return Ready(ParamVector(layout_));
}

std::future<absl::StatusOr<TrainedUpdate>> NullWorkload::Train(WorkloadTask task) {
  return Ready(TrainedUpdate{
      .result = {.num_examples = 1, .local_steps = task.steps, .examples_seen = task.steps},
      .payload = payload_});
}

std::future<absl::StatusOr<EvalResult>> NullWorkload::Evaluate(WorkloadTask) {
  return Ready(EvalResult{.num_examples = 1});
}

}  // namespace tributary
