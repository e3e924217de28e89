#include "simulator/torch_workload.h"

#include <utility>

#include "client_sdk/data/partition.h"
#include "client_sdk/data/readers.h"
#include "common/status_macros.h"
#include "simulator/experiment.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<Experiment>> Experiment::Create(SimulationFile file,
                                                               ExperimentOptions options) {
  TRIB_ASSIGN_OR_RETURN(auto workload, TorchWorkload::Create(file, options.threads));
  return Create(std::move(file), std::move(workload), std::move(options));
}

TorchWorkload::TorchWorkload(const JobSpec& job, int threads)
    : job_{.id = JobId("simulation"),
           .name = job.name,
           .model_json = config::Print(job.model).dump(),
           .train_json = config::Print(job.train).dump()},
      pool_(threads) {}

absl::StatusOr<std::unique_ptr<Workload>> TorchWorkload::Create(const SimulationFile& file,
                                                                int threads) {
  const SimulationSpec& spec = file.simulation;
  auto workload = std::unique_ptr<TorchWorkload>(new TorchWorkload(file.job, threads));
  TRIB_ASSIGN_OR_RETURN(workload->error_feedback_, ErrorFeedbackOf(file.job));
  TRIB_ASSIGN_OR_RETURN(workload->codec_, CreateCodec(file.job.codec, workload->error_feedback_ !=
                                                                          ErrorFeedback::kOff));
  const auto data = LoadDataset(spec.data);
  if (!data.ok()) return file.Refuse("simulation.data", data.status());
  auto parts = PartitionDataset(*data->train, spec.data.partition, spec.clients,
                                static_cast<uint64_t>(spec.seed));
  if (!parts.ok()) return file.Refuse("simulation.data.partition", parts.status());
  for (auto& part : *parts) workload->views_.push_back({data->train, std::move(part)});
  workload->views_.push_back(DataView::All(data->test));
  workload->shape_ = DataShape::Of(*data->train);
  const auto flops = TorchWorker().TrainFlopsPerExample(workload->job_, workload->shape_);
  if (!flops.ok()) return file.Refuse("job.model", flops.status());
  workload->flops_per_example_ = *flops;
  return workload;
}

absl::Status TorchWorkload::CheckModel(const ParamVector& model) const {
  return TorchWorker().CheckModel(job_, shape_, model);
}

std::future<absl::StatusOr<ParamVector>> TorchWorkload::MakeFirstModel(WorkloadTask task) {
  return pool_.Start(task.needed_at, [this, seed = task.order.seed](TorchWorker& worker) {
    return worker.InitialModel(job_, shape_, seed);
  });
}

std::future<absl::StatusOr<TrainedUpdate>> TorchWorkload::Train(WorkloadTask task) {
  const absl::Time needed_at = task.needed_at;
  return pool_.Start(needed_at, [this, task = std::move(task)](TorchWorker& worker) {
    return TrainNow(task, worker);
  });
}

absl::StatusOr<TrainedUpdate> TorchWorkload::TrainNow(const WorkloadTask& task,
                                                      TorchWorker& worker) const {
  const Rng rng(task.order.seed);
  ParamVector model = task.base->Clone();
  TrainedUpdate update;
  TRIB_ASSIGN_OR_RETURN(update.result, worker.Train({.job = job_,
                                                     .work_order = task.order.id,
                                                     .base_version = task.order.version,
                                                     .local_steps = task.order.local_steps,
                                                     .deadline = task.order.deadline,
                                                     .rng = rng,
                                                     .stop = task.stop,
                                                     .progress = {}},
                                                    View(task.client), model));
  AddScaled(-1.0f, task.base->trainable(), model.trainable());  // trained − base
  const CodecContext context{.layout = model.layout(), .rng = rng.Split("codec")};
  TRIB_ASSIGN_OR_RETURN(
      EncodedUpdate encoded,
      EncodeWithFeedback(*codec_, error_feedback_, std::move(model), update.result.num_examples,
                         task.residual.get(), context));
  update.payload = std::move(encoded.payload);
  if (encoded.residual) {
    update.residual = std::make_shared<const Residual>(*std::move(encoded.residual));
  }
  return update;
}

std::future<absl::StatusOr<EvalResult>> TorchWorkload::Evaluate(WorkloadTask task) {
  const absl::Time needed_at = task.needed_at;
  return pool_.Start(needed_at, [this, task = std::move(task)](TorchWorker& worker) {
    return worker.Evaluate({.job = job_,
                            .work_order = task.order.id,
                            .version = task.order.version,
                            .stop = task.stop},
                           View(task.client), *task.base);
  });
}

}  // namespace tributary
