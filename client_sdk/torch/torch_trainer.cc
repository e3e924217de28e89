#include "client_sdk/torch/torch_trainer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::Status CheckView(const DataView& view, absl::string_view name) {
  if (view.size() == 0) return absl::OkStatus();
  if (view.dataset == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": indices without a dataset"));
  }
  TRIB_RETURN_IF_ERROR(WithContext(view.dataset->Validate(), name));
  for (const int32_t index : view.indices) {
    if (index < 0 || index >= view.dataset->size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ": index ", index, " is out of range [0, ", view.dataset->size(), ")"));
    }
  }
  return absl::OkStatus();
}

std::string ToString(const DataShape& shape) {
  return absl::StrCat("(", absl::StrJoin(shape.example_shape, ", "), ") in ", shape.num_classes,
                      shape.tokens ? " tokens" : " classes");
}

}  // namespace

absl::StatusOr<std::unique_ptr<TorchTrainer>> TorchTrainer::Create(TorchTrainerOptions options) {
  TRIB_RETURN_IF_ERROR(CheckView(options.train, "train"));
  TRIB_RETURN_IF_ERROR(CheckView(options.eval, "eval"));
  if (options.train.size() == 0 && options.eval.size() == 0) {
    return absl::InvalidArgumentError("neither train nor eval has an example");
  }
  const DataView& either = options.train.size() > 0 ? options.train : options.eval;
  DataShape shape = DataShape::Of(*either.dataset);
  if (options.eval.size() > 0 && DataShape::Of(*options.eval.dataset) != shape) {
    return absl::InvalidArgumentError(
        absl::StrCat("train has examples of ", ToString(shape), ", eval of ",
                     ToString(DataShape::Of(*options.eval.dataset)), "; they must agree"));
  }
  return std::unique_ptr<TorchTrainer>(new TorchTrainer(std::move(options), std::move(shape)));
}

TorchTrainer::TorchTrainer(TorchTrainerOptions options, DataShape shape)
    : options_(std::move(options)), shape_(std::move(shape)) {}

absl::StatusOr<ParamVector> TorchTrainer::InitialModel(const JobInfo& job, uint64_t seed) {
  return worker_.InitialModel(job, shape_, seed);
}

absl::StatusOr<const TorchTrainerOptions*> TorchTrainer::Task(int64_t task) {
  if (task == 0 || !options_.task) return &options_;
  const auto it = later_tasks_.find(task);
  if (it != later_tasks_.end()) return &it->second;
  TRIB_ASSIGN_OR_RETURN(TorchTrainerOptions made, options_.task(task));
  TRIB_RETURN_IF_ERROR(CheckView(made.train, "train"));
  TRIB_RETURN_IF_ERROR(CheckView(made.eval, "eval"));
  return &later_tasks_.emplace(task, std::move(made)).first->second;
}

absl::StatusOr<const DataView*> TorchTrainer::TrainView(int64_t task) {
  TRIB_ASSIGN_OR_RETURN(const TorchTrainerOptions* const data, Task(task));
  if (data->train.size() > 0) return &data->train;
  return absl::FailedPreconditionError("this client has no training examples: it only evaluates");
}

absl::StatusOr<TrainResult> TorchTrainer::Train(const TrainTask& task, ParamVector& model) {
  TRIB_ASSIGN_OR_RETURN(const DataView* const view, TrainView(task.task));
  return worker_.Train(task, *view, model);
}

absl::StatusOr<TrainResult> TorchTrainer::TrainAdapter(const TrainTask& task,
                                                       const FrozenModel& frozen,
                                                       ParamVector& adapter) {
  TRIB_ASSIGN_OR_RETURN(const DataView* const view, TrainView(task.task));
  return worker_.TrainAdapter(task, frozen, *view, adapter);
}

absl::StatusOr<TrainResult> TorchTrainer::Explore(const CollectTask& task, ParamVector& model) {
  TRIB_ASSIGN_OR_RETURN(const DataView* const view, TrainView(task.task));
  return worker_.Explore(task, *view, model);
}

absl::StatusOr<int64_t> TorchTrainer::SketchInputs(const CollectTask& task,
                                                   const ParamVector& model, ParamVector& sketch) {
  TRIB_ASSIGN_OR_RETURN(const DataView* const view, TrainView(task.task));
  return worker_.SketchInputs(task, *view, model, sketch);
}

absl::Status TorchTrainer::CanSketchInputs(const JobInfo& job) {
  return worker_.CanShowInputs(job, shape_);
}

absl::StatusOr<EvalResult> TorchTrainer::Evaluate(const EvalTask& task, const ParamVector& model) {
  TRIB_ASSIGN_OR_RETURN(const TorchTrainerOptions* const data, Task(task.task));
  if (data->eval.size() == 0) {
    return absl::FailedPreconditionError("this client has no examples to evaluate on");
  }
  return worker_.Evaluate(task, data->eval, model);
}

const std::vector<ModelDescription>& BuiltinModels() {
  static const auto* const models = new std::vector<ModelDescription>{
      {"logistic", "logistic regression"},
      {"mlp", "fully connected layers with ReLU; `hidden` are their widths"},
      {"cnn", "two strided convolutions and two linear layers; about 50k parameters"},
      {"resnet", "three residual blocks with group norm; about 78k parameters"},
      {"gpt", "a transformer of the GPT-2 family, for text"},
      {"llama", "a transformer of the Llama family, for text"},
  };
  return *models;
}

}  // namespace tributary
