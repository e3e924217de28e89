// Trainer: what an application implements to take part: make a first model, train on
// its own data, evaluate. The data never leaves it.
//
// A minimal trainer (see examples/embedded_app):
//
//   class MyTrainer : public tributary::Trainer {
//     absl::StatusOr<ParamVector> InitialModel(const JobInfo& job, uint64_t seed) override;
//     absl::StatusOr<TrainResult> Train(const TrainTask& task, ParamVector& model) override;
//     absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const ParamVector& model) override;
//   };
#ifndef TRIBUTARY_CLIENT_SDK_TRAINER_H_
#define TRIBUTARY_CLIENT_SDK_TRAINER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/ids.h"
#include "common/lora/lora_plan.h"
#include "common/params/collection.h"
#include "common/params/mask.h"
#include "common/params/param_vector.h"
#include "common/rng.h"

namespace tributary {

// What a client knows of the job it works for.
struct JobInfo {
  JobId id;
  std::string name;
  std::string model_json;  // the job's `model:` section, canonical JSON (common/train_spec)
  std::string train_json;  // the job's `train:` section
  // The file that model.program stands for, checked against it; null: the job has none.
  std::shared_ptr<const std::string> program;
};

struct TrainTask {
  JobInfo job;
  WorkOrderId work_order = 0;
  Version base_version = 0;
  int64_t task = 0;  // of a job that goes from task to task: whose data to train on
  // The coordinates that the job keeps; null: all. The others are zero in the base, and what
  // training makes of them is not sent. The same object for the same mask.
  std::shared_ptr<const Mask> mask;
  // Optimizer steps to do; absent: what the train section says.
  std::optional<int64_t> local_steps;
  // The optimizer's learning rate is that of the train section times this.
  double client_rate = 1.0;
  // With train.hypergradient: the version before the base; the base is that plus server_rate times
  // the global update. Null: not known.
  std::shared_ptr<const ParamVector> previous;
  double server_rate = 1.0;
  absl::Time deadline = absl::InfiniteFuture();
  Rng rng{0};            // all randomness of this task (shuffling, dropout) comes from it
  std::stop_token stop;  // asked to end: return Cancelled soon
  // Tell how far training is, in steps; cheap; it is also the sign of life. May be empty.
  std::function<void(int64_t steps_done, int64_t steps_total)> progress;
};

struct TrainResult {
  int64_t num_examples = 0;   // examples in the client's training set that took part
  int64_t local_steps = 0;    // optimizer steps done
  int64_t examples_seen = 0;  // in these steps, repetitions counted; 0: not known
  int64_t flops = 0;          // floating-point operations of these steps; 0: not known
  double learning_rate = 0;   // of the last step
  double loss = 0;            // mean over the steps
  double accuracy = 0;        // mean over the steps, [0, 1]; 0 if it has no meaning
};

// What stays as it is while an adapter is trained.
struct FrozenModel {
  std::shared_ptr<const LoraPlan> plan;
  std::shared_ptr<const ParamVector> model;  // of the plan's model(): the weights W
  int64_t rank = 0;                          // of the adapter
  AdapterFactors trains = AdapterFactors::kBoth;
};

struct EvalTask {
  JobInfo job;
  WorkOrderId work_order = 0;
  Version version = 0;
  int64_t task = 0;  // whose data to evaluate on
  std::stop_token stop;
};

// What the client is to contribute once, beside updates, so that a method can learn of its data.
struct CollectTask {
  JobInfo job;
  WorkOrderId work_order = 0;
  Version version = 0;
  int64_t task = 0;  // whose data
  CollectRequest request;
  Rng rng{0};
  std::stop_token stop;
  std::function<void(int64_t steps_done, int64_t steps_total)> progress;
};

struct EvalResult {
  int64_t num_examples = 0;
  double loss = 0;                        // mean over the examples
  double accuracy = 0;                    // [0, 1]
  std::map<std::string, double> metrics;  // any more; averaged by examples
};

// The training that an exploration is, for as long as the train section says.
inline TrainTask TrainTaskOf(const CollectTask& task) {
  return {.job = task.job,
          .work_order = task.work_order,
          .base_version = task.version,
          .task = task.task,
          .mask = {},
          .local_steps = {},
          .deadline = absl::InfiniteFuture(),
          .rng = task.rng,
          .stop = task.stop,
          .progress = task.progress};
}

// Called by one thread at a time. Errors become a report to the coordinator; none ends
// the client. OutOfRange says that training diverged, as values that are not finite do: the
// coordinator may answer it with a lower learning rate.
class Trainer {
 public:
  virtual ~Trainer() = default;

  // The first model of the job, the same for the same seed on the same machine.
  virtual absl::StatusOr<ParamVector> InitialModel(const JobInfo& job, uint64_t seed) = 0;

  // Trains `model` in place: comes in as the base version, goes out trained.
  virtual absl::StatusOr<TrainResult> Train(const TrainTask& task, ParamVector& model) = 0;

  virtual absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const ParamVector& model) = 0;

  // Trains `adapter` in place, of the plan's AdapterLayout(rank): the layers of the plan's modules
  // work with W + s·B·A, where s is the plan's Scale(rank) (common/lora/lora_plan.h). The factor
  // that is not trained stays as it is, to the bit.
  virtual absl::StatusOr<TrainResult> TrainAdapter(const TrainTask& /*task*/,
                                                   const FrozenModel& /*frozen*/,
                                                   ParamVector& /*adapter*/) {
    return absl::UnimplementedError("this trainer trains whole models: it has no TrainAdapter");
  }

  // Trains `model` in place, as Train does, to show how far each parameter moves. The options say
  // for how long (common/train_spec); by default as long as the train section says.
  virtual absl::StatusOr<TrainResult> Explore(const CollectTask& task, ParamVector& model) {
    return Train(TrainTaskOf(task), model);
  }

  // Fills `sketch`, zeros of the request's layout, with what its options ask of the layers' inputs
  // under `model` (docs/algorithms/orthogonal_projection.md); returns the number of examples.
  virtual absl::StatusOr<int64_t> SketchInputs(const CollectTask& /*task*/,
                                               const ParamVector& /*model*/,
                                               ParamVector& /*sketch*/) {
    return absl::UnimplementedError(
        "this trainer does not show its layers' inputs: it has no SketchInputs");
  }

  // Whether SketchInputs will do for this job's model. Asked before the first model is made and
  // before each training of a job whose tasks end with sketches: later it would be in vain.
  virtual absl::Status CanSketchInputs(const JobInfo& /*job*/) { return absl::OkStatus(); }
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TRAINER_H_
