#include "client_sdk/app/throttle.h"

#include <utility>

namespace tributary {
namespace {

class ThrottledTrainer final : public Trainer {
 public:
  ThrottledTrainer(std::unique_ptr<Trainer> trainer, absl::Duration per_step, Clock* clock)
      : trainer_(std::move(trainer)), per_step_(per_step), clock_(clock) {}

  absl::StatusOr<ParamVector> InitialModel(const JobInfo& job, uint64_t seed) override {
    return trainer_->InitialModel(job, seed);
  }

  absl::StatusOr<TrainResult> Train(const TrainTask& task, ParamVector& model) override {
    return trainer_->Train(Slowed(task), model);
  }

  absl::StatusOr<TrainResult> TrainAdapter(const TrainTask& task, const FrozenModel& frozen,
                                           ParamVector& adapter) override {
    return trainer_->TrainAdapter(Slowed(task), frozen, adapter);
  }

  absl::StatusOr<TrainResult> Explore(const CollectTask& task, ParamVector& model) override {
    return trainer_->Explore(Slowed(task), model);
  }

  absl::StatusOr<int64_t> SketchInputs(const CollectTask& task, const ParamVector& model,
                                       ParamVector& sketch) override {
    return trainer_->SketchInputs(task, model, sketch);
  }

  absl::Status CanSketchInputs(const JobInfo& job) override {
    return trainer_->CanSketchInputs(job);
  }

  absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const ParamVector& model) override {
    return trainer_->Evaluate(task, model);
  }

 private:
  template <typename Task>
  Task Slowed(const Task& task) const {
    Task slow = task;
    slow.progress = [this, &task, start = clock_->Now()](int64_t steps_done, int64_t steps_total) {
      if (task.progress) task.progress(steps_done, steps_total);
      const absl::Duration left = start + steps_done * per_step_ - clock_->Now();
      if (left > absl::ZeroDuration()) clock_->SleepFor(left, task.stop);
    };
    return slow;
  }

  const std::unique_ptr<Trainer> trainer_;
  const absl::Duration per_step_;
  Clock* const clock_;
};

}  // namespace

std::unique_ptr<Trainer> Throttled(std::unique_ptr<Trainer> trainer, absl::Duration per_step,
                                   Clock* clock) {
  if (per_step == absl::ZeroDuration()) return trainer;
  return std::make_unique<ThrottledTrainer>(std::move(trainer), per_step, clock);
}

}  // namespace tributary
