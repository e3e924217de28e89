#include "client_sdk/torch/local_training.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/batch_stream.h"
#include "client_sdk/torch/local_hypergradient.h"
#include "client_sdk/torch/local_optimizer.h"
#include "client_sdk/torch/torch_include.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// The trainable values as one flat span, as tensors that view it, and their gradients.
class Trainable {
 public:
  // `mu`: FedProx's penalty towards the values at the start; 0: none.
  Trainable(const ParamLayout& layout, absl::Span<float> values, float mu)
      : values_(values.first(static_cast<size_t>(layout.trainable_size()))),
        mu_(mu),
        params_(ParamViews(layout, values.data(), true)) {
    if (mu_ > 0) start_.assign(values_.begin(), values_.end());
  }

  absl::Span<float> values() const { return values_; }
  const std::vector<at::Tensor>& params() const { return params_; }  // and the buffers

  // What the backward pass left, with the penalty's part; in the order of the layout.
  absl::Span<const absl::Span<const float>> Gradients() {
    gradients_.clear();
    size_t offset = 0;
    for (const at::Tensor& param : params_) {
      if (!param.requires_grad()) continue;
      at::Tensor& gradient = param.mutable_grad();
      if (!gradient.defined()) gradient = at::zeros(param.sizes());  // of no part in this batch
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

// Changes an optimizer's rate after each step as train.hypergradient says, if it does.
class RateHook {
 public:
  // `previous`: the values of the version before; empty: not known.
  RateHook(const TrainTask& task, const TrainSpec& spec, int64_t steps,
           absl::Span<const float> base, absl::Span<const float> previous,
           LocalOptimizer& optimizer)
      : first_factor_(task.client_rate), optimizer_(optimizer) {
    optimizer.SetRateFactor(task.client_rate);
    if (!spec.hypergradient) return;
    std::vector<float> update;
    if (!previous.empty()) {
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

struct StepOutcome {
  double loss = 0;
  double accuracy = 0;
};

// Forward and backward on the batch in `batch`; gradients are left in `params`.
StepOutcome ForwardBackward(const TorchModel& model, const std::vector<at::Tensor>& params,
                            const BatchBuffer& batch) {
  const at::Tensor logits = batch.OfHead(model.Forward(params, batch.inputs()));
  const at::Tensor loss = at::cross_entropy_loss(logits, batch.targets());
  loss.backward();
  return {static_cast<double>(loss.item<float>()), static_cast<double>(batch.CountCorrect(logits)) /
                                                       static_cast<double>(batch.predictions())};
}

}  // namespace

int64_t TrainFlops(const TorchModel& model, const ParamLayout& layout) {
  return 2 * model.TrainMultiplyAdds(layout);
}

absl::StatusOr<TrainResult> TrainLocally(const TrainTask& task, const LocalTraining& what,
                                         const DataView& data, BatchBuffer& batch,
                                         absl::Span<float> values) {
  BatchStream batches(data.indices, std::min(what.spec.batch_size, data.size()),
                      task.rng.Split("batches"));
  TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<LocalOptimizer> optimizer,
                        LocalOptimizer::Create(what.spec.optimizer));
  Trainable trainable(*what.layout, values, static_cast<float>(what.spec.proximal));
  what.model.Begin(Mode::kTrain, task.rng);
  TrainResult result;
  result.num_examples = data.size();
  const int64_t steps = StepsOf(task, what.spec, batches);
  Patience rest(what.patience, batches.batches_per_pass());
  RateHook hook(task, what.spec, steps, trainable.values(), what.previous, *optimizer);
  for (int64_t step = 1; step <= steps; ++step) {
    if (task.stop.stop_requested()) {
      return absl::CancelledError(
          absl::StrCat("stopped after ", step - 1, " of ", steps, " steps"));
    }
    batch.Fill(*data.dataset, batches.Next());
    result.learning_rate = optimizer->learning_rate();
    const StepOutcome outcome = ForwardBackward(what.model, trainable.params(), batch);
    if (!std::isfinite(outcome.loss)) {
      return absl::OutOfRangeError(absl::StrCat("the loss became ", outcome.loss, " at step ", step,
                                                " of ", steps, " with learning_rate ",
                                                result.learning_rate));
    }
    hook.BeforeStep(trainable.values());
    optimizer->Step(trainable.Gradients(), trainable.values());
    if (what.mask != nullptr) ClearPruned(*what.mask, 0, trainable.values());
    trainable.ReleaseGradients();
    hook.AfterStep(trainable.values(), (step - 1) % batches.batches_per_pass() == 0);
    result.loss += (outcome.loss - result.loss) / static_cast<double>(step);
    result.accuracy += (outcome.accuracy - result.accuracy) / static_cast<double>(step);
    result.local_steps = step;
    result.examples_seen += batch.size();
    if (task.progress) task.progress(step, steps);
    if (rest.EndsWith(outcome.loss)) break;
  }
  result.flops = TrainFlops(what.model, *what.layout) * result.examples_seen;
  return result;
}

}  // namespace tributary
