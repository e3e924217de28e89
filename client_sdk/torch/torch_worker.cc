#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/batch_stream.h"
#include "client_sdk/torch/layer_inputs.h"
#include "client_sdk/torch/local_hypergradient.h"
#include "client_sdk/torch/local_optimizer.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/torch/torch_include.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/status_macros.h"
#include "common/train_spec/train_spec.h"

namespace tributary {
namespace {

constexpr int64_t kEvalBatch = 512;

// Runs `work`, which returns a Status or StatusOr, and turns what LibTorch throws into one.
template <typename Work>
auto Guarded(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what_without_backtrace()));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory");
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what()));
  }
}

// The setting belongs to the calling thread, and a thread may come and go.
void UseOneIntraOpThread() {
  thread_local const bool done = (at::set_num_threads(1), true);
  static_cast<void>(done);
}

absl::StatusOr<BuiltinModel> ParseModel(const std::string& model_json) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(model_json));
  TRIB_ASSIGN_OR_RETURN(ModelSpec spec, config::Parse<ModelSpec>(node, "model"));
  if (spec.builtin) return *std::move(spec.builtin);
  return absl::UnimplementedError(absl::StrCat("model.custom is '", *spec.custom,
                                               "'; this trainer knows the built-in models only"));
}

absl::StatusOr<TrainSpec> ParseTrain(const std::string& train_json) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(train_json));
  return config::Parse<TrainSpec>(node, "train");
}

absl::StatusOr<LayoutPtr> LayoutOf(const TorchModel& model) {
  std::vector<ParamLayout::Tensor> tensors;
  for (const ModelParam& param : model.params()) tensors.push_back({param.name, param.shape});
  return ParamLayout::Create(std::move(tensors));
}

absl::Status CheckLayout(const ParamLayout& expected, const ParamVector& model) {
  if (model.empty()) return absl::InvalidArgumentError("the model has no layout");
  const ParamLayout& found = *model.layout();
  if (&found == &expected || found.digest() == expected.digest()) return absl::OkStatus();
  for (const ParamLayout::Tensor& tensor : expected.tensors()) {
    const ParamLayout::Tensor* other = found.Find(tensor.name);
    if (other != nullptr && other->shape == tensor.shape && other->kind == tensor.kind) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "the model's tensor '", tensor.name, "' ",
        other == nullptr ? "is missing" : "has another shape or kind than this job's model"));
  }
  return absl::InvalidArgumentError(absl::StrCat("the model has ", found.tensors().size(),
                                                 " tensors; this job's has ",
                                                 expected.tensors().size()));
}

absl::Status CheckExamples(const DataView& data) {
  if (data.dataset != nullptr && data.size() > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("the client has no examples");
}

// Tensors that are views into the flat buffer: no copy goes in or out.
std::vector<at::Tensor> Views(const ParamLayout& layout, const float* values, bool with_gradient) {
  std::vector<at::Tensor> views;
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    // Evaluation only reads them, but a tensor has no const form.
    auto* data = const_cast<float*>(values + tensor.offset);
    views.push_back(at::from_blob(data, tensor.shape).set_requires_grad(with_gradient));
  }
  return views;
}

// The parameters as one flat span, as tensors that view it, and their gradients.
class Trainable {
 public:
  // `mu`: FedProx's penalty towards the values at the start; 0: none.
  Trainable(const ParamLayout& layout, absl::Span<float> values, float mu)
      : values_(values), mu_(mu), params_(Views(layout, values.data(), true)) {
    if (mu_ > 0) start_.assign(values.begin(), values.end());
  }

  absl::Span<float> values() const { return values_; }
  const std::vector<at::Tensor>& params() const { return params_; }

  // What the backward pass left, with the penalty's part; in the order of the layout.
  absl::Span<const absl::Span<const float>> Gradients() {
    gradients_.clear();
    size_t offset = 0;
    for (const at::Tensor& param : params_) {
      const at::Tensor& gradient = param.grad();
      TORCH_CHECK(gradient.is_contiguous(), "a gradient is laid out unlike its parameter");
      const auto piece =
          absl::MakeSpan(gradient.data_ptr<float>(), static_cast<size_t>(gradient.numel()));
      if (mu_ > 0) {
        AddProximal(mu_, values_.subspan(offset, piece.size()),
                    absl::MakeConstSpan(start_).subspan(offset, piece.size()), piece);
      }
      gradients_.push_back(piece);
      offset += piece.size();
    }
    return gradients_;
  }

  // Lets go of them rather than zeroing: the next backward pass hands its own tensors over.
  void ReleaseGradients() {
    for (const at::Tensor& param : params_) param.mutable_grad().reset();
  }

 private:
  const absl::Span<float> values_;
  const float mu_;
  const std::vector<at::Tensor> params_;
  std::vector<float> start_;
  std::vector<absl::Span<const float>> gradients_;
};

// Room for a batch's inputs and labels, filled again and again.
class BatchBuffer {
 public:
  BatchBuffer(int64_t capacity, const DataShape& shape) : shape_(shape) {
    std::vector<int64_t> sizes = shape.example_shape;
    sizes.insert(sizes.begin(), capacity);
    inputs_ = at::empty(sizes, at::kFloat);
    targets_ = at::empty({capacity}, at::kLong);
  }

  bool Holds(int64_t examples, const DataShape& shape) const {
    return examples <= inputs_.size(0) && shape == shape_;
  }

  void Fill(const Dataset& data, absl::Span<const int32_t> indices) {
    size_ = static_cast<int64_t>(indices.size());
    head_ = data.head;
    data.Gather(indices, inputs_.data_ptr<float>(), targets_.data_ptr<int64_t>());
    if (!head_.empty()) targets() -= head_.begin;
  }

  int64_t size() const { return size_; }
  at::Tensor inputs() const { return inputs_.narrow(0, 0, size_); }
  // Classes, counted from the head's first one.
  at::Tensor targets() const { return targets_.narrow(0, 0, size_); }
  // The logits of the head's classes.
  at::Tensor OfHead(const at::Tensor& logits) const {
    return head_.empty() ? logits : logits.narrow(1, head_.begin, head_.end - head_.begin);
  }

  // How many examples have their largest logit at their label.
  int64_t CountCorrect(const at::Tensor& logits) const {
    const at::Tensor rows = logits.contiguous();
    const int64_t classes = rows.size(1);
    const float* row = rows.data_ptr<float>();
    const int64_t* target = targets_.data_ptr<int64_t>();
    int64_t correct = 0;
    for (int64_t i = 0; i < size_; ++i, row += classes) {
      correct += std::max_element(row, row + classes) - row == target[i] ? 1 : 0;
    }
    return correct;
  }

 private:
  DataShape shape_;
  at::Tensor inputs_;   // [capacity, example_shape…]
  at::Tensor targets_;  // [capacity]
  int64_t size_ = 0;
  Dataset::ClassRange head_;
};

// Ends training when passes bring no lower mean loss.
class Patience {
 public:
  Patience(std::optional<int64_t> passes, int64_t steps_per_pass)
      : passes_(passes), steps_per_pass_(steps_per_pass) {}

  // After each step.
  bool EndsWith(double loss) {
    sum_ += loss;
    if (!passes_ || ++steps_ % steps_per_pass_ != 0) return false;
    worse_ = sum_ < best_ ? 0 : worse_ + 1;
    best_ = std::min(best_, std::exchange(sum_, 0));
    return worse_ >= *passes_;
  }

 private:
  const std::optional<int64_t> passes_;
  const int64_t steps_per_pass_;
  int64_t steps_ = 0;
  int64_t worse_ = 0;
  double sum_ = 0;
  double best_ = std::numeric_limits<double>::infinity();
};

struct BuiltModel {
  std::string model_json;
  DataShape shape;
  std::unique_ptr<TorchModel> model;
  LayoutPtr layout;
};

struct BuiltTrain {
  std::string train_json;
  TrainSpec spec;
};

// Changes an optimizer's rate after each step as train.hypergradient says, if it does.
class RateHook {
 public:
  RateHook(const TrainTask& task, const TrainSpec& spec, int64_t steps,
           absl::Span<const float> base, LocalOptimizer& optimizer)
      : first_factor_(task.client_rate), optimizer_(optimizer) {
    optimizer.SetRateFactor(task.client_rate);
    if (!spec.hypergradient) return;
    std::vector<float> update;
    if (task.previous != nullptr) {
      const absl::Span<const float> previous = task.previous->trainable();
      update.assign(base.begin(), base.end());
      for (size_t i = 0; i < update.size(); ++i) {
        update[i] = (update[i] - previous[i]) / static_cast<float>(task.server_rate);
      }
    }
    rule_.emplace(*spec.hypergradient, optimizer.learning_rate(), steps, std::move(update));
  }

  void BeforeStep(absl::Span<const float> values) {
    if (rule_) moved_.assign(values.begin(), values.end());
  }
  void AfterStep(absl::Span<const float> values, bool first_of_pass) {
    if (!rule_) return;
    for (size_t i = 0; i < moved_.size(); ++i) moved_[i] = values[i] - moved_[i];
    optimizer_.SetRateFactor(first_factor_ * rule_->Follow(moved_, first_of_pass));
  }

 private:
  const double first_factor_;
  LocalOptimizer& optimizer_;
  std::optional<LocalHypergradient> rule_;
  std::vector<float> moved_;  // the values before the step, then how far it went
};

int64_t StepsOf(const TrainTask& task, const TrainSpec& spec, const BatchStream& batches) {
  if (task.local_steps) return *task.local_steps;
  if (spec.local_steps) return *spec.local_steps;
  return spec.local_epochs.value_or(1) * batches.batches_per_pass();
}

}  // namespace

class TorchWorker::Impl {
 public:
  absl::StatusOr<const BuiltModel*> Model(const JobInfo& job, const DataShape& shape);
  absl::StatusOr<const TrainSpec*> Spec(const JobInfo& job);
  // `patience`: passes without a lower mean loss after which it ends; absent: it goes on.
  absl::StatusOr<TrainResult> Train(const TrainTask& task, const DataView& data,
                                    const BuiltModel& built, const TrainSpec& spec,
                                    std::optional<int64_t> patience, ParamVector& model);
  // Shows `observer` the layers' inputs of all examples.
  absl::Status Observe(const CollectTask& task, const DataView& data, const BuiltModel& built,
                       const ParamVector& model, InputObserver& observer);
  absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const DataView& data,
                                      const BuiltModel& built, const ParamVector& model);

 private:
  struct StepOutcome {
    double loss = 0;
    double accuracy = 0;
  };
  // Forward and backward on the batch in `batch`; gradients are left in `params`.
  static StepOutcome ForwardBackward(const TorchModel& model, const std::vector<at::Tensor>& params,
                                     const BatchBuffer& batch);
  BatchBuffer& Buffer(std::optional<BatchBuffer>& slot, int64_t examples, const DataShape& shape);

  // What was built last: a worker mostly stays with one job.
  std::optional<BuiltModel> model_;
  std::optional<BuiltTrain> train_;
  std::optional<BatchBuffer> train_batch_;
  std::optional<BatchBuffer> eval_batch_;
};

absl::StatusOr<const BuiltModel*> TorchWorker::Impl::Model(const JobInfo& job,
                                                           const DataShape& shape) {
  if (!model_ || model_->model_json != job.model_json || model_->shape != shape) {
    TRIB_ASSIGN_OR_RETURN(const BuiltinModel spec, ParseModel(job.model_json));
    TRIB_ASSIGN_OR_RETURN(std::unique_ptr<TorchModel> model, MakeModel(spec, shape));
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

TorchWorker::Impl::StepOutcome TorchWorker::Impl::ForwardBackward(
    const TorchModel& model, const std::vector<at::Tensor>& params, const BatchBuffer& batch) {
  const at::Tensor logits = batch.OfHead(model.Forward(params, batch.inputs()));
  const at::Tensor loss = at::cross_entropy_loss(logits, batch.targets());
  loss.backward();
  return {static_cast<double>(loss.item<float>()),
          static_cast<double>(batch.CountCorrect(logits)) / static_cast<double>(batch.size())};
}

absl::StatusOr<TrainResult> TorchWorker::Impl::Train(const TrainTask& task, const DataView& data,
                                                     const BuiltModel& built, const TrainSpec& spec,
                                                     std::optional<int64_t> patience,
                                                     ParamVector& model) {
  const int64_t batch_size = std::min(spec.batch_size, data.size());
  BatchStream batches(data.indices, batch_size, task.rng.Split("batches"));
  BatchBuffer& batch = Buffer(train_batch_, batch_size, built.shape);
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<LocalOptimizer> optimizer,
                        LocalOptimizer::Create(spec.optimizer));
  Trainable trainable(*built.layout, model.trainable(), static_cast<float>(spec.proximal));
  TrainResult result;
  result.num_examples = data.size();
  const int64_t steps = StepsOf(task, spec, batches);
  Patience rest(patience, batches.batches_per_pass());
  RateHook hook(task, spec, steps, model.trainable(), *optimizer);
  for (int64_t step = 1; step <= steps; ++step) {
    if (task.stop.stop_requested()) {
      return absl::CancelledError(
          absl::StrCat("stopped after ", step - 1, " of ", steps, " steps"));
    }
    batch.Fill(*data.dataset, batches.Next());
    result.learning_rate = optimizer->learning_rate();
    const StepOutcome outcome = ForwardBackward(*built.model, trainable.params(), batch);
    if (!std::isfinite(outcome.loss)) {
      return absl::OutOfRangeError(absl::StrCat("the loss became ", outcome.loss, " at step ", step,
                                                " of ", steps, " with learning_rate ",
                                                result.learning_rate));
    }
    hook.BeforeStep(trainable.values());
    optimizer->Step(trainable.Gradients(), trainable.values());
    if (task.mask != nullptr) ClearPruned(*task.mask, 0, trainable.values());
    trainable.ReleaseGradients();
    hook.AfterStep(trainable.values(), (step - 1) % batches.batches_per_pass() == 0);
    result.loss += (outcome.loss - result.loss) / static_cast<double>(step);
    result.accuracy += (outcome.accuracy - result.accuracy) / static_cast<double>(step);
    result.local_steps = step;
    result.examples_seen += batch.size();
    if (task.progress) task.progress(step, steps);
    if (rest.EndsWith(outcome.loss)) break;
  }
  return result;
}

absl::Status TorchWorker::Impl::Observe(const CollectTask& task, const DataView& data,
                                        const BuiltModel& built, const ParamVector& model,
                                        InputObserver& observer) {
  const at::NoGradGuard no_gradients;
  const std::vector<at::Tensor> params = Views(*built.layout, model.values().data(), false);
  const auto batch_size = static_cast<size_t>(std::min(kEvalBatch, data.size()));
  BatchBuffer& batch = Buffer(eval_batch_, static_cast<int64_t>(batch_size), built.shape);
  for (size_t start = 0; start < data.indices.size(); start += batch_size) {
    if (task.stop.stop_requested()) {
      return absl::CancelledError(
          absl::StrCat("stopped after ", start, " of ", data.size(), " examples"));
    }
    batch.Fill(*data.dataset, absl::MakeConstSpan(data.indices).subspan(start, batch_size));
    built.model->Forward(params, batch.inputs(), &observer);
  }
  return absl::OkStatus();
}

absl::StatusOr<EvalResult> TorchWorker::Impl::Evaluate(const EvalTask& task, const DataView& data,
                                                       const BuiltModel& built,
                                                       const ParamVector& model) {
  const at::NoGradGuard no_gradients;
  const std::vector<at::Tensor> params = Views(*built.layout, model.values().data(), false);
  const auto batch_size = static_cast<size_t>(std::min(kEvalBatch, data.size()));
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
  const auto examples = static_cast<double>(data.size());
  return EvalResult{data.size(), loss / examples, static_cast<double>(correct) / examples, {}};
}

TorchWorker::TorchWorker() : impl_(std::make_unique<Impl>()) {}
TorchWorker::~TorchWorker() = default;
TorchWorker::TorchWorker(TorchWorker&&) noexcept = default;
TorchWorker& TorchWorker::operator=(TorchWorker&&) noexcept = default;

absl::StatusOr<ParamVector> TorchWorker::InitialModel(const JobInfo& job, const DataShape& shape,
                                                      uint64_t seed) {
  return Guarded([&]() -> absl::StatusOr<ParamVector> {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    return InitialParams(*built->model, built->layout, seed);
  });
}

absl::Status TorchWorker::CheckModel(const JobInfo& job, const DataShape& shape,
                                     const ParamVector& model) {
  return Guarded([&]() -> absl::Status {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    return CheckLayout(*built->layout, model);
  });
}

absl::StatusOr<int64_t> TorchWorker::TrainFlopsPerExample(const JobInfo& job,
                                                          const DataShape& shape) {
  return Guarded([&]() -> absl::StatusOr<int64_t> {
    TRIB_ASSIGN_OR_RETURN(const BuiltModel* built, impl_->Model(job, shape));
    return 3 * 2 * built->model->forward_multiply_adds();
  });
}

absl::StatusOr<TrainResult> TorchWorker::Train(const TrainTask& task, const DataView& data,
                                               ParamVector& model) {
  return Guarded([&]() -> absl::StatusOr<TrainResult> {
    UseOneIntraOpThread();
    TRIB_RETURN_IF_ERROR(CheckExamples(data));
    if (task.local_steps && *task.local_steps < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("local_steps is ", *task.local_steps, "; allowed: at least 1"));
    }
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
