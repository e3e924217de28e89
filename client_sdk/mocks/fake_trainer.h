// FakeTrainer: a Trainer without data or mathematics, whose every answer can be foretold.
#ifndef TRIBUTARY_CLIENT_SDK_MOCKS_FAKE_TRAINER_H_
#define TRIBUTARY_CLIENT_SDK_MOCKS_FAKE_TRAINER_H_

#include <functional>
#include <utility>

#include "client_sdk/trainer.h"

namespace tributary {

// By default: the first model is drawn from Rng(seed); training adds one draw of task.rng to
// every value, buffers included; evaluation reports the first value as the loss. Each can be
// replaced. Thread-compatible.
class FakeTrainer : public Trainer {
 public:
  explicit FakeTrainer(LayoutPtr layout) : layout_(std::move(layout)) {}

  absl::StatusOr<ParamVector> InitialModel(const JobInfo& job, uint64_t seed) override {
    if (on_initial_model) return on_initial_model(job, seed);
    ParamVector model(layout_);
    Rng rng(seed);
    for (float& value : model.values()) value = static_cast<float>(rng.Normal());
    return model;
  }

  absl::StatusOr<TrainResult> Train(const TrainTask& task, ParamVector& model) override {
    ++trained;
    if (on_train) return on_train(task, model);
    Rng rng = task.rng;
    for (float& value : model.values()) value += static_cast<float>(rng.Uniform());
    const int64_t steps = task.local_steps.value_or(1);
    if (task.progress) task.progress(steps, steps);
    return TrainResult{.num_examples = 10,
                       .local_steps = steps,
                       .learning_rate = 0.5,
                       .loss = 0.25,
                       .accuracy = 0.75};
  }

  absl::StatusOr<TrainResult> TrainAdapter(const TrainTask& task, const FrozenModel& frozen,
                                           ParamVector& adapter) override {
    if (on_train_adapter) return on_train_adapter(task, frozen, adapter);
    return Trainer::TrainAdapter(task, frozen, adapter);
  }

  absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const ParamVector& model) override {
    if (on_evaluate) return on_evaluate(task, model);
    return EvalResult{.num_examples = 7, .loss = model.values()[0], .accuracy = 0.5};
  }

  absl::StatusOr<int64_t> SketchInputs(const CollectTask& task, const ParamVector& model,
                                       ParamVector& sketch) override {
    if (on_sketch) return on_sketch(task, sketch);
    return Trainer::SketchInputs(task, model, sketch);
  }

  absl::Status CanSketchInputs(const JobInfo& job) override {
    return on_can_sketch ? on_can_sketch(job) : absl::OkStatus();
  }

  std::function<absl::StatusOr<int64_t>(const CollectTask&, ParamVector&)> on_sketch;
  std::function<absl::Status(const JobInfo&)> on_can_sketch;
  std::function<absl::StatusOr<ParamVector>(const JobInfo&, uint64_t)> on_initial_model;
  std::function<absl::StatusOr<TrainResult>(const TrainTask&, ParamVector&)> on_train;
  std::function<absl::StatusOr<TrainResult>(const TrainTask&, const FrozenModel&, ParamVector&)>
      on_train_adapter;
  std::function<absl::StatusOr<EvalResult>(const EvalTask&, const ParamVector&)> on_evaluate;
  int trained = 0;  // calls of Train

 private:
  const LayoutPtr layout_;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_MOCKS_FAKE_TRAINER_H_
