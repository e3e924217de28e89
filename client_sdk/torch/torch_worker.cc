#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/adapted_model.h"
#include "client_sdk/torch/batch_buffer.h"
#include "client_sdk/torch/layer_inputs.h"
#include "client_sdk/torch/local_training.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/torch/script_model.h"
#include "client_sdk/torch/submodel.h"
#include "client_sdk/torch/torch_calls.h"
#include "client_sdk/torch/torch_include.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "common/train_spec/train_spec.h"

namespace tributary {
namespace {

constexpr int64_t kEvalPredictions = 512;  // in a batch

absl::StatusOr<std::unique_ptr<TorchModel>> ModelOf(const JobInfo& job, const DataShape& shape) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(job.model_json));
  TRIB_ASSIGN_OR_RETURN(const ModelSpec spec, config::Parse<ModelSpec>(node, "model"));
  if (spec.builtin) return MakeModel(*spec.builtin, shape);
  if (spec.custom) {
    return absl::UnimplementedError(
        absl::StrCat("model.custom is '", *spec.custom,
                     "'; this trainer knows the built-in models and TorchScript programs only"));
  }
  if (job.program == nullptr) {
    return absl::InvalidArgumentError("the model is a TorchScript program, which did not come");
  }
  return MakeScriptModel(job.program, shape);
}

absl::StatusOr<TrainSpec> ParseTrain(const std::string& train_json) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(train_json));
  return config::Parse<TrainSpec>(node, "train");
}

absl::Status CheckExamples(const DataView& data) {
  if (data.dataset != nullptr && data.size() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("the client has no examples");
}

absl::Status CheckSteps(const TrainTask& task) {
  if (!task.local_steps || *task.local_steps >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("local_steps is ", *task.local_steps, "; allowed: at least 1"));
}

// What says something of whole models cannot be said of adapters.
absl::Status CheckAdapterTask(const TrainTask& task, const TrainSpec& spec) {
  if (task.mask != nullptr) {
    return absl::InvalidArgumentError(
        "the work order has a mask; it prunes the weights, which stay frozen while an adapter is "
        "trained: what is added to them would not be pruned; allowed with adapters: none");
  }
  if (spec.hypergradient) {
    return absl::InvalidArgumentError(
        "train.hypergradient follows the last update of the whole model, which has no counterpart "
        "among the factors of an adapter; allowed with adapters: none");
  }
  return absl::OkStatus();
}

size_t EvalBatch(const DataShape& shape, const DataView& data) {
  const int64_t examples = std::max<int64_t>(1, kEvalPredictions / shape.predictions());
  return static_cast<size_t>(std::min(examples, data.size()));
}

struct BuiltModel {
  std::string model_json;
  DataShape shape;
  std::unique_ptr<TorchModel> model;
  LayoutPtr layout;
};

struct FoundSubmodel {
  LayoutPtr of;
  std::shared_ptr<const Mask> mask;
  LayoutPtr layout;  // null: none
};

struct BuiltTrain {
  std::string train_json;
  TrainSpec spec;
};

}  // namespace

class TorchWorker::Impl {
 public:
  absl::StatusOr<const BuiltModel*> Model(const JobInfo& job, const DataShape& shape);
  absl::StatusOr<const TrainSpec*> Spec(const JobInfo& job);
  // `patience`: passes without a lower mean loss after which it ends; absent: it goes on.
  absl::StatusOr<TrainResult> Train(const TrainTask& task, const DataView& data,
                                    const BuiltModel& built, const TrainSpec& spec,
                                    std::optional<int64_t> patience, ParamVector& model);
  absl::StatusOr<TrainResult> TrainAdapter(const TrainTask& task, const FrozenModel& frozen,
                                           const DataView& data, const BuiltModel& built,
                                           const TrainSpec& spec, ParamVector& adapter);
  // Shows `hook` the layers' inputs of all examples.
  absl::Status Observe(const CollectTask& task, const DataView& data, const BuiltModel& built,
                       const ParamVector& model, LayerHook& hook);
  absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const DataView& data,
                                      const BuiltModel& built, const ParamVector& model);

 private:
  // Of the model that the mask leaves; null: none.
  LayoutPtr SubmodelOf(const BuiltModel& built, const std::shared_ptr<const Mask>& mask);
  BatchBuffer& Buffer(std::optional<BatchBuffer>& slot, int64_t examples, const DataShape& shape);

  // What was built last: a worker mostly stays with one job.
  std::optional<BuiltModel> model_;
  std::optional<BuiltTrain> train_;
  std::optional<FoundSubmodel> submodel_;
  std::optional<BatchBuffer> train_batch_;
  std::optional<BatchBuffer> eval_batch_;
};

absl::StatusOr<const BuiltModel*> TorchWorker::Impl::Model(const JobInfo& job,
                                                           const DataShape& shape) {
  if (!model_ || model_->model_json != job.model_json || model_->shape != shape) {
    TRIB_ASSIGN_OR_RETURN(std::unique_ptr<TorchModel> model, ModelOf(job, shape));
    TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, LayoutOf(*model));
    model_ = BuiltModel{job.model_json, shape, std::move(model), std::move(layout)};
  }
  return &*model_;
}

absl::StatusOr<const TrainSpec*> TorchWorker::Impl::Spec(const JobInfo& job) {
  if (!train_ || train_->train_json != job.train_json) {
    TRIB_ASSIGN_OR_RETURN(TrainSpec spec, ParseTrain(job.train_json));
    train_ = BuiltTrain{job.train_json, std::move(spec)};
  }
  return &train_->spec;
}

BatchBuffer& TorchWorker::Impl::Buffer(std::optional<BatchBuffer>& slot, int64_t examples,
                                       const DataShape& shape) {
  if (!slot || !slot->Holds(examples, shape)) slot.emplace(examples, shape);
  return *slot;
}

LayoutPtr TorchWorker::Impl::SubmodelOf(const BuiltModel& built,
                                        const std::shared_ptr<const Mask>& mask) {
  if (mask == nullptr || !built.model->TakesSubmodels()) return nullptr;
  if (!submodel_ || submodel_->of != built.layout || submodel_->mask != mask) {
    submodel_ = FoundSubmodel{built.layout, mask, SubmodelLayout(*built.layout, *mask)};
  }
  return submodel_->layout;
}

absl::StatusOr<TrainResult> TorchWorker::Impl::Train(const TrainTask& task, const DataView& data,
                                                     const BuiltModel& built, const TrainSpec& spec,
                                                     std::optional<int64_t> patience,
                                                     ParamVector& model) {
  BatchBuffer& batch = Buffer(train_batch_, std::min(spec.batch_size, data.size()), built.shape);
  LocalTraining what{
      .model = *built.model, .layout = built.layout, .spec = spec, .patience = patience};
  if (task.previous != nullptr) what.previous = task.previous->trainable();
  const LayoutPtr submodel = SubmodelOf(built, task.mask);
  if (submodel == nullptr) {
    what.mask = task.mask.get();
    return TrainLocally(task, what, data, batch, model.values());
  }
  what.layout = submodel;
  std::vector<float> previous;
  if (task.previous != nullptr) {
    previous = GatherKept(*task.mask, what.previous);
    what.previous = previous;
  }
  std::vector<float> values = GatherKept(*task.mask, model.trainable());
  auto result = TrainLocally(task, what, data, batch, absl::MakeSpan(values));
  ScatterKept(*task.mask, values, model.trainable());
  return result;
}

absl::StatusOr<TrainResult> TorchWorker::Impl::TrainAdapter(
    const TrainTask& task, const FrozenModel& frozen, const DataView& data, const BuiltModel& built,
    const TrainSpec& spec, ParamVector& adapter) {
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<AdaptedModel> adapted,
                        AdaptedModel::Create(*built.model, frozen, adapter));
  ParamVector trained(frozen.plan->AdapterLayout(frozen.rank, frozen.trains));
  CopyShared(adapter, trained);
  BatchBuffer& batch = Buffer(train_batch_, std::min(spec.batch_size, data.size()), built.shape);
  const LocalTraining what{.model = *adapted, .layout = trained.layout(), .spec = spec};
  auto result = TrainLocally(task, what, data, batch, trained.trainable());
  CopyShared(trained, adapter);
  return result;
}

absl::Status TorchWorker::Impl::Observe(const CollectTask& task, const DataView& data,
                                        const BuiltModel& built, const ParamVector& model,
                                        LayerHook& hook) {
  const at::NoGradGuard no_gradients;
  const std::vector<at::Tensor> params = ParamViews(*built.layout, model.values().data(), false);
  built.model->Begin(Mode::kEvaluate, Rng(0));
  const size_t batch_size = EvalBatch(built.shape, data);
  BatchBuffer& batch = Buffer(eval_batch_, static_cast<int64_t>(batch_size), built.shape);
  for (size_t start = 0; start < data.indices.size(); start += batch_size) {
    if (task.stop.stop_requested()) {
      return absl::CancelledError(
          absl::StrCat("stopped after ", start, " of ", data.size(), " examples"));
    }
    batch.Fill(*data.dataset, absl::MakeConstSpan(data.indices).subspan(start, batch_size));
    built.model->ShowInputs(params, batch.inputs(), hook);
  }
  return absl::OkStatus();
}

absl::StatusOr<EvalResult> TorchWorker::Impl::Evaluate(const EvalTask& task, const DataView& data,
                                                       const BuiltModel& built,
                                                       const ParamVector& model) {
  const at::NoGradGuard no_gradients;
  const std::vector<at::Tensor> params = ParamViews(*built.layout, model.values().data(), false);
  built.model->Begin(Mode::kEvaluate, Rng(0));
  const size_t batch_size = EvalBatch(built.shape, data);
  BatchBuffer& batch = Buffer(eval_batch_, static_cast<int64_t>(batch_size), built.shape);
  double loss = 0;
  int64_t correct = 0;
  for (size_t start = 0; start < data.indices.size(); start += batch_size) {
    if (task.stop.stop_requested()) {
      return absl::CancelledError(
          absl::StrCat("stopped after ", start, " of ", data.size(), " examples"));
    }
    batch.Fill(*data.dataset, absl::MakeConstSpan(data.indices).subspan(start, batch_size));
    const at::Tensor logits = batch.OfHead(built.model->Forward(params, batch.inputs()));
    loss += at::cross_entropy_loss(logits, batch.targets(), {}, at::Reduction::Sum).item<float>();
    correct += batch.CountCorrect(logits);
  }
  if (!std::isfinite(loss)) {
    return absl::OutOfRangeError(absl::StrCat("the evaluation loss is ", loss));
  }
  const auto predictions = static_cast<double>(data.size() * built.shape.predictions());
  EvalResult result{
      data.size(), loss / predictions, static_cast<double>(correct) / predictions, {}};
  if (built.shape.tokens) result.metrics["perplexity"] = std::exp(result.loss);
  return result;
}

TorchWorker::TorchWorker() : impl_(std::make_unique<Impl>()) {}
TorchWorker::~TorchWorker() = default;
TorchWorker::TorchWorker(TorchWorker&&) noexcept = default;
TorchWorker& TorchWorker::operator=(TorchWorker&&) noexcept = default;

absl::StatusOr<ParamVector> TorchWorker::InitialModel(const JobInfo& job, const DataShape& shape,
                                                      uint64_t seed) {
  return Guarded([&]() -> absl::StatusOr<ParamVector> {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    return built->model->InitialParams(built->layout, seed);
  });
}

absl::Status TorchWorker::CheckModel(const JobInfo& job, const DataShape& shape,
                                     const ParamVector& model) {
  return Guarded([&]() -> absl::Status {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    return CheckLayout(*built->layout, model);
  });
}

absl::Status TorchWorker::CanShowInputs(const JobInfo& job, const DataShape& shape) {
  return Guarded([&]() -> absl::Status {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    return built->model->CanShowInputs();
  });
}

absl::StatusOr<int64_t> TorchWorker::TrainFlopsPerExample(const JobInfo& job,
                                                          const DataShape& shape) {
  return Guarded([&]() -> absl::StatusOr<int64_t> {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    return TrainFlops(*built->model, *built->layout);
  });
}

absl::StatusOr<TrainResult> TorchWorker::Train(const TrainTask& task, const DataView& data,
                                               ParamVector& model) {
  return Guarded([&]() -> absl::StatusOr<TrainResult> {
    UseOneIntraOpThread();
    TRIB_RETURN_IF_ERROR(CheckExamples(data));
    TRIB_RETURN_IF_ERROR(CheckSteps(task));
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built,
                          impl_->Model(task.job, DataShape::Of(*data.dataset)));
    TRIB_RETURN_IF_ERROR(CheckLayout(*built->layout, model));
    if (task.previous != nullptr) {
      TRIB_RETURN_IF_ERROR(CheckLayout(*built->layout, *task.previous));
    }
    TRIB_ASSIGN_OR_RETURN(const TrainSpec* spec, impl_->Spec(task.job));
    return impl_->Train(task, data, *built, *spec, std::nullopt, model);
  });
}

absl::Status TorchWorker::CheckAdapters(const JobInfo& job, const DataShape& shape,
                                        const LoraTerms& terms) {
  return Guarded([&]() -> absl::Status {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    TRIB_ASSIGN_OR_RETURN(const auto plan, LoraPlan::Create(terms, *built->layout));
    const int64_t rank = terms.spec.max_rank();
    const FrozenModel frozen{
        .plan = plan, .model = std::make_shared<const ParamVector>(plan->model()), .rank = rank};
    return AdaptedModel::Create(*built->model, frozen, ParamVector(plan->AdapterLayout(rank)))
        .status();
  });
}

absl::StatusOr<TrainResult> TorchWorker::TrainAdapter(const TrainTask& task,
                                                      const FrozenModel& frozen,
                                                      const DataView& data, ParamVector& adapter) {
  return Guarded([&]() -> absl::StatusOr<TrainResult> {
    UseOneIntraOpThread();
    TRIB_RETURN_IF_ERROR(CheckExamples(data));
    TRIB_RETURN_IF_ERROR(CheckSteps(task));
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built,
                          impl_->Model(task.job, DataShape::Of(*data.dataset)));
    TRIB_ASSIGN_OR_RETURN(const TrainSpec* spec, impl_->Spec(task.job));
    TRIB_RETURN_IF_ERROR(CheckAdapterTask(task, *spec));
    return impl_->TrainAdapter(task, frozen, data, *built, *spec, adapter);
  });
}

absl::StatusOr<TrainResult> TorchWorker::Explore(const CollectTask& task, const DataView& data,
                                                 ParamVector& model) {
  return Guarded([&]() -> absl::StatusOr<TrainResult> {
    UseOneIntraOpThread();
    TRIB_RETURN_IF_ERROR(CheckExamples(data));
    TRIB_ASSIGN_OR_RETURN(const config::Node options,
                          config::NodeFromJsonText(task.request.options_json));
    TRIB_ASSIGN_OR_RETURN(const auto explore, config::Parse<ExploreSpec>(options, "explore"));
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built,
                          impl_->Model(task.job, DataShape::Of(*data.dataset)));
    TRIB_RETURN_IF_ERROR(CheckLayout(*built->layout, model));
    TRIB_ASSIGN_OR_RETURN(const TrainSpec* job_spec, impl_->Spec(task.job));
    TrainSpec spec = *job_spec;
    spec.local_steps.reset();
    spec.local_epochs = explore.epochs;
    if (explore.learning_rate) spec.optimizer.options["learning_rate"] = *explore.learning_rate;
    return impl_->Train(TrainTaskOf(task), data, *built, spec, explore.patience, model);
  });
}

absl::StatusOr<int64_t> TorchWorker::SketchInputs(const CollectTask& task, const DataView& data,
                                                  const ParamVector& model, ParamVector& sketch) {
  return Guarded([&]() -> absl::StatusOr<int64_t> {
    UseOneIntraOpThread();
    TRIB_RETURN_IF_ERROR(CheckExamples(data));
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built,
                          impl_->Model(task.job, DataShape::Of(*data.dataset)));
    TRIB_RETURN_IF_ERROR(CheckLayout(*built->layout, model));
    TRIB_RETURN_IF_ERROR(built->model->CanShowInputs());
    TRIB_ASSIGN_OR_RETURN(InputSketch sums,
                          InputSketch::Create(task.request, task.rng.Split("sketch")));
    TRIB_RETURN_IF_ERROR(impl_->Observe(task, data, *built, model, sums));
    TRIB_RETURN_IF_ERROR(sums.Write(sketch));
    return data.size();
  });
}

absl::StatusOr<EvalResult> TorchWorker::Evaluate(const EvalTask& task, const DataView& data,
                                                 const ParamVector& model) {
  return Guarded([&]() -> absl::StatusOr<EvalResult> {
    UseOneIntraOpThread();
    TRIB_RETURN_IF_ERROR(CheckExamples(data));
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built,
                          impl_->Model(task.job, DataShape::Of(*data.dataset)));
    TRIB_RETURN_IF_ERROR(CheckLayout(*built->layout, model));
    return impl_->Evaluate(task, data, *built, model);
  });
}

}  // namespace tributary
