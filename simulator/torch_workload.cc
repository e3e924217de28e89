#include "simulator/torch_workload.h"

#include <future>
#include <utility>

#include "client_sdk/data/partition.h"
#include "client_sdk/data/task_data.h"
#include "common/codec/adapter_update.h"
#include "common/codec/update_payload.h"
#include "common/status_macros.h"
#include "simulator/experiment.h"

namespace tributary {
namespace {

// A result that the pool works on, until it is let go.
template <typename T>
class OnThePool {
 public:
  OnThePool(std::future<absl::StatusOr<T>> done, std::stop_source stop)
      : done_(std::move(done)), stop_(std::move(stop)) {}
  OnThePool(OnThePool&&) = default;
  ~OnThePool() { stop_.request_stop(); }

  absl::StatusOr<T> operator()() && { return done_.get(); }

 private:
  std::future<absl::StatusOr<T>> done_;
  std::stop_source stop_;
};

void Put(EncodedUpdate encoded, TrainedUpdate& update) {
  update.payload = std::move(encoded.payload);
  if (!encoded.residual) return;
  update.residual = std::make_shared<const Residual>(*std::move(encoded.residual));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Experiment>> Experiment::Create(SimulationFile file,
                                                               ExperimentOptions options) {
  TRIB_ASSIGN_OR_RETURN(auto workload, TorchWorkload::Create(file, options.threads, options.stop));
  return Create(std::move(file), std::move(workload), std::move(options));
}

TorchWorkload::TorchWorkload(const SimulationFile& file, int threads, std::stop_token stop)
    : job_{.id = JobId("simulation"),
           .name = file.job.name,
           .model_json = config::Print(file.job.model).dump(),
           .train_json = config::Print(TrainOf(file.job)).dump(),
           .program = file.program},
      stop_(std::move(stop)),
      pool_(threads) {}

absl::StatusOr<std::unique_ptr<Workload>> TorchWorkload::Create(const SimulationFile& file,
                                                                int threads, std::stop_token stop) {
  auto workload = std::unique_ptr<TorchWorkload>(new TorchWorkload(file, threads, std::move(stop)));
  workload->terms_ = LoraTermsOf(file.job);
  TRIB_ASSIGN_OR_RETURN(workload->error_feedback_, ErrorFeedbackOf(file.job));
  TRIB_ASSIGN_OR_RETURN(
      workload->codec_,
      CreateCodec(file.job.codec, workload->error_feedback_.weights != ErrorFeedback::kOff));
  TRIB_RETURN_IF_ERROR(workload->DealOut(file));
  workload->shape_ = DataShape::Of(*workload->View(0, 0).dataset);
  const auto flops = TorchWorker().TrainFlopsPerExample(workload->job_, workload->shape_);
  if (!flops.ok()) {
    return file.Refuse(file.program == nullptr ? "job.model" : "job.model.torchscript",
                       flops.status());
  }
  if (workload->terms_) {
    const absl::Status fits =
        TorchWorker().CheckAdapters(workload->job_, workload->shape_, *workload->terms_);
    if (!fits.ok()) return file.Refuse("job.lora", fits);
  }
  if (file.job.Collects(CollectKind::kSketch)) {
    const absl::Status shown = TorchWorker().CanShowInputs(workload->job_, workload->shape_);
    if (!shown.ok()) return file.Refuse("job.model.torchscript", shown);
  }
  workload->flops_per_example_ = *flops;
  return workload;
}

absl::Status TorchWorkload::DealOut(const SimulationFile& file) {
  const SimulationSpec& spec = file.simulation;
  auto tasks = TaskData::Load(spec.data);
  if (!tasks.ok()) return file.Refuse("simulation.data", tasks.status());
  const int64_t count = file.job.continual ? file.job.continual->tasks : 1;
  for (int64_t task = 0; task < count; ++task) {
    const auto data = tasks->Task(task);
    if (!data.ok()) return file.Refuse("simulation.data.scenario", data.status());
    auto parts = PartitionDataset(*data->train, spec.data.partition, spec.clients,
                                  static_cast<uint64_t>(spec.seed));
    if (!parts.ok()) return file.Refuse("simulation.data.partition", parts.status());
    std::vector<DataView>& views = views_.emplace_back();
    for (auto& part : *parts) views.push_back({data->train, std::move(part)});
    views.push_back(DataView::All(data->test));
  }
  return absl::OkStatus();
}

absl::Status TorchWorkload::CheckModel(const ParamVector& model) const {
  if (!terms_) return TorchWorker().CheckModel(job_, shape_, model);
  TRIB_ASSIGN_OR_RETURN(const auto plan, LoraPlan::Create(*terms_, *model.layout()));
  return TorchWorker().CheckModel(job_, shape_, plan->Merged(model));
}

template <typename T, typename Body>
Pending<T> TorchWorkload::Start(absl::Time needed_at, Body body) {
  std::stop_source stop;
  auto done = pool_.Start(needed_at, [this, stop, body = std::move(body)](TorchWorker& worker) {
    const std::stop_callback with_all(stop_, [&stop] { stop.request_stop(); });
    return body(worker, stop.get_token());
  });
  return OnThePool<T>(std::move(done), std::move(stop));
}

Pending<ParamVector> TorchWorkload::MakeFirstModel(WorkloadTask task) {
  return Start<ParamVector>(task.needed_at,
                            [this, seed = task.order.seed](TorchWorker& worker, std::stop_token) {
                              return worker.InitialModel(job_, shape_, seed);
                            });
}

Pending<TrainedUpdate> TorchWorkload::Train(WorkloadTask task) {
  const absl::Time needed_at = task.needed_at;
  return Start<TrainedUpdate>(
      needed_at, [this, task = std::move(task)](TorchWorker& worker, std::stop_token stop) {
        return TrainNow(task, worker, std::move(stop));
      });
}

absl::StatusOr<TrainedUpdate> TorchWorkload::TrainNow(const WorkloadTask& task, TorchWorker& worker,
                                                      std::stop_token stop) const {
  const Rng rng(task.order.seed);
  const TrainTask train{.job = job_,
                        .work_order = task.order.id,
                        .base_version = task.order.version,
                        .task = task.order.task,
                        .mask = task.mask,
                        .local_steps = task.order.local_steps,
                        .client_rate = task.order.client_rate,
                        .previous = task.previous,
                        .server_rate = task.order.server_rate.value_or(1.0),
                        .deadline = task.order.deadline,
                        .rng = rng,
                        .stop = std::move(stop),
                        .progress = {}};
  if (terms_) return TrainAdapterNow(task, train, worker);
  ParamVector model = task.base->Clone();
  TrainedUpdate update;
  TRIB_ASSIGN_OR_RETURN(update.result,
                        worker.Train(train, View(task.client, task.order.task), model));
  AddScaled(-1.0f, task.base->trainable(), model.trainable());  // trained − base
  const CodecContext context{.layout = model.layout(),
                             .rng = rng.Split("codec"),
                             .mask = task.mask.get(),
                             .task = task.order.task,
                             .version = task.order.version};
  TRIB_ASSIGN_OR_RETURN(
      EncodedUpdate encoded,
      EncodeWithFeedback(*codec_, error_feedback_, std::move(model), update.result.num_examples,
                         task.residual.get(), context));
  Put(std::move(encoded), update);
  return update;
}

absl::StatusOr<TrainedUpdate> TorchWorkload::TrainAdapterNow(const WorkloadTask& task,
                                                             const TrainTask& train,
                                                             TorchWorker& worker) const {
  TRIB_ASSIGN_OR_RETURN(const auto plan, LoraPlan::Create(*terms_, *task.base->layout()));
  const AdapterOrder order{.plan = *plan,
                           .rank = task.order.adapter_rank,
                           .base = task.order.version,
                           .seed = task.order.seed};
  const ParamVector start = BeginAdapter(order, *task.base, task.residual.get());
  ParamVector adapter = start.Clone();
  TrainedUpdate update;
  TRIB_ASSIGN_OR_RETURN(update.result,
                        worker.TrainAdapter(train,
                                            {.plan = plan,
                                             .model = task.base,
                                             .rank = order.rank,
                                             .trains = plan->rule().TrainsFrom(order.base)},
                                            View(task.client, task.order.task), adapter));
  Put(EncodeAdapter(*codec_, order, start, adapter), update);
  return update;
}

Pending<TrainedUpdate> TorchWorkload::Contribute(WorkloadTask task, CollectRequest request) {
  const absl::Time needed_at = task.needed_at;
  return Start<TrainedUpdate>(needed_at,
                              [this, task = std::move(task), request = std::move(request)](
                                  TorchWorker& worker, std::stop_token stop) {
                                return ContributeNow(task, request, worker, std::move(stop));
                              });
}

absl::StatusOr<TrainedUpdate> TorchWorkload::ContributeNow(const WorkloadTask& task,
                                                           const CollectRequest& request,
                                                           TorchWorker& worker,
                                                           std::stop_token stop) const {
  const CollectTask what = {.job = job_,
                            .work_order = task.order.id,
                            .version = task.order.version,
                            .task = task.order.task,
                            .request = request,
                            .rng = Rng(task.order.seed),
                            .stop = std::move(stop),
                            .progress = {}};
  ParamVector contribution;
  TrainedUpdate update;
  if (request.kind == CollectKind::kExplore) {
    ParamVector model = task.base->Clone();
    TRIB_ASSIGN_OR_RETURN(update.result, worker.Explore(what, View(task.client, what.task), model));
    TRIB_ASSIGN_OR_RETURN(contribution, Deviations(*task.base, model, request));
  } else {
    contribution = ParamVector(request.layout);
    TRIB_ASSIGN_OR_RETURN(
        update.result.num_examples,
        worker.SketchInputs(what, View(task.client, what.task), *task.base, contribution));
    update.result.local_steps = 1;
  }
  TRIB_ASSIGN_OR_RETURN(const auto raw, CreateCodec({}));
  update.payload = EncodeUpdate(*raw, contribution, {.layout = request.layout});
  return update;
}

absl::StatusOr<std::shared_ptr<const ParamVector>> TorchWorkload::Evaluated(
    const WorkloadTask& task) const {
  if (!terms_) return task.base;
  TRIB_ASSIGN_OR_RETURN(const auto plan, LoraPlan::Create(*terms_, *task.base->layout()));
  if (!plan->rule().keeps_adapter) return task.base;
  return std::make_shared<const ParamVector>(
      EvaluatedModel(*plan, *task.base, task.residual.get()));
}

Pending<std::vector<EvalResult>> TorchWorkload::Evaluate(WorkloadTask task) {
  const absl::Time needed_at = task.needed_at;
  return Start<std::vector<EvalResult>>(
      needed_at,
      [this, task = std::move(task)](
          TorchWorker& worker, std::stop_token stop) -> absl::StatusOr<std::vector<EvalResult>> {
        std::vector<EvalResult> results;
        EvalTask what = {.job = job_,
                         .work_order = task.order.id,
                         .version = task.order.version,
                         .task = task.order.task - task.order.tasks + 1,
                         .stop = stop};
        TRIB_ASSIGN_OR_RETURN(const auto model, Evaluated(task));
        for (; what.task <= task.order.task; ++what.task) {
          TRIB_ASSIGN_OR_RETURN(results.emplace_back(),
                                worker.Evaluate(what, View(task.client, what.task), *model));
        }
        return results;
      });
}

}  // namespace tributary
