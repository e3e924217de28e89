// TorchTrainer: a Trainer over LibTorch for the built-in models (logistic, mlp, cnn,
// resnet, gpt, llama) and for TorchScript programs (script_model.h), and TorchWorker, its engine,
// which trains for any client's data.
//
//   auto trainer = TorchTrainer::Create({.train = view, .eval = DataView::All(data.test)});
//   auto client = Client::Create(options, std::move(*trainer));
//
// A simulator keeps one TorchWorker for each thread and hands it one virtual client's
// DataView after another: a worker keeps the model it built last, and nothing of a client.
//
// Bits: the result is a function of the task, the view and the model alone, on one machine
// (one intra-op thread is set). No LibTorch header is needed to include this one.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_TORCH_TRAINER_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_TORCH_TRAINER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client_sdk/data/dataset.h"
#include "client_sdk/trainer.h"

namespace tributary {

// What a model's ends depend on.
struct DataShape {
  std::vector<int64_t> example_shape;  // {channels, height, width}, {features} or {tokens}
  int64_t num_classes = 0;             // of tokens: the size of the vocabulary
  bool tokens = false;                 // every input has a label of its own: the token after it

  static DataShape Of(const Dataset& data) {
    return {data.example_shape, data.num_classes, data.has_tokens()};
  }
  // Labels of one example.
  int64_t predictions() const { return tokens ? example_shape.front() : 1; }
  bool operator==(const DataShape&) const = default;
};

// Thread-compatible; different workers on different threads are independent. Errors:
//   InvalidArgument    a model or train section that does not parse, a model that does not
//                      fit the data, a ParamVector of another layout, an empty view
//   Unimplemented      a `custom` model
//   Cancelled          the task's stop token
//   OutOfRange         loss became NaN or infinite; names the step
//   Internal           anything that LibTorch threw
class TorchWorker {
 public:
  TorchWorker();
  ~TorchWorker();
  TorchWorker(TorchWorker&&) noexcept;
  TorchWorker& operator=(TorchWorker&&) noexcept;

  // Weights and biases uniform in ±1/√fan_in (PyTorch's default), those of language models as
  // GPT-2's (language_models.h), from Rng(seed). Of a program the values that it holds.
  absl::StatusOr<ParamVector> InitialModel(const JobInfo& job, const DataShape& shape,
                                           uint64_t seed);

  // InvalidArgument: the job's model does not fit the data, or `model` is not of its layout.
  absl::Status CheckModel(const JobInfo& job, const DataShape& shape, const ParamVector& model);

  // InvalidArgument: the model has no such modules, or some that can have no adapter.
  absl::Status CheckAdapters(const JobInfo& job, const DataShape& shape, const LoraTerms& terms);

  // InvalidArgument: SketchInputs will not do, as a program has no layer_inputs.
  absl::Status CanShowInputs(const JobInfo& job, const DataShape& shape);

  // Floating-point operations of training on one example once: three times the forward pass
  // (backward computes a gradient for the inputs and one for the weights of each layer), at two
  // operations for each multiplication with a weight of a linear layer or a convolution. The first
  // layer's inputs need no gradient; it is counted. Everything else (biases, norms, activations,
  // pooling, products of keys, queries and values, the loss, the optimizer) is left out. 0: not
  // known, of a program.
  absl::StatusOr<int64_t> TrainFlopsPerExample(const JobInfo& job, const DataShape& shape);

  // Trains `model` in place on `data`: an epoch shuffles the view by task.rng and cuts it
  // into batches of batch_size, the last of them smaller. task.local_steps, else the train
  // section's local_steps or local_epochs (else one epoch), says for how long.
  // The optimizer starts afresh. On error `model` is left as far as training came.
  // num_examples of the result is data.size().
  absl::StatusOr<TrainResult> Train(const TrainTask& task, const DataView& data,
                                    ParamVector& model);

  // Trains `adapter` in place on `data`, in the steps that Train would do, with dropout as the
  // plan's spec says, drawn from task.rng. `frozen.model` is only read; on error `adapter` is left
  // as far as training came. Floating-point operations are AdaptedModel's (adapted_model.h).
  // InvalidArgument: `frozen` or `adapter` does not fit the job's model or the plan; a target that
  // is neither a linear layer nor a convolution; a mask or train.hypergradient, which say something
  // of whole models.
  absl::StatusOr<TrainResult> TrainAdapter(const TrainTask& task, const FrozenModel& frozen,
                                           const DataView& data, ParamVector& adapter);

  // Train for as many passes as the request's ExploreSpec says; from the epoch on that has brought
  // no lower mean loss `patience` times, no more.
  absl::StatusOr<TrainResult> Explore(const CollectTask& task, const DataView& data,
                                      ParamVector& model);

  // Fills `sketch`, zeros of the request's layout, with sums over the inputs of the request's
  // layers; returns data.size(). InvalidArgument: a layer that the model does not have, or a
  // program that shows no inputs.
  absl::StatusOr<int64_t> SketchInputs(const CollectTask& task, const DataView& data,
                                       const ParamVector& model, ParamVector& sketch);

  // Mean cross entropy and accuracy over `data`: over all its tokens, if it is text, and then with
  // their metric `perplexity`, e to the loss.
  absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const DataView& data,
                                      const ParamVector& model);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

struct TorchTrainerOptions {
  DataView train;  // may be empty (no dataset) for a client that only evaluates
  DataView eval;   // may be empty for a client that only trains
  // Of a task after the first, in the same form; null: every task is the first one.
  std::function<absl::StatusOr<TorchTrainerOptions>(int64_t task)> task;
};

class TorchTrainer : public Trainer {
 public:
  // InvalidArgument: neither view has examples, their shapes or class counts differ, an
  // index out of range, or an invalid dataset.
  static absl::StatusOr<std::unique_ptr<TorchTrainer>> Create(TorchTrainerOptions options);

  absl::StatusOr<ParamVector> InitialModel(const JobInfo& job, uint64_t seed) override;
  // FailedPrecondition if there is no view to train or to evaluate on.
  absl::StatusOr<TrainResult> Train(const TrainTask& task, ParamVector& model) override;
  absl::StatusOr<EvalResult> Evaluate(const EvalTask& task, const ParamVector& model) override;
  absl::StatusOr<TrainResult> TrainAdapter(const TrainTask& task, const FrozenModel& frozen,
                                           ParamVector& adapter) override;
  absl::StatusOr<TrainResult> Explore(const CollectTask& task, ParamVector& model) override;
  absl::StatusOr<int64_t> SketchInputs(const CollectTask& task, const ParamVector& model,
                                       ParamVector& sketch) override;
  absl::Status CanSketchInputs(const JobInfo& job) override;

 private:
  TorchTrainer(TorchTrainerOptions options, DataShape shape);
  // The data of a task, made when it is first asked for.
  absl::StatusOr<const TorchTrainerOptions*> Task(int64_t task);
  absl::StatusOr<const DataView*> TrainView(int64_t task);

  const TorchTrainerOptions options_;
  std::map<int64_t, TorchTrainerOptions> later_tasks_;
  DataShape shape_;
  TorchWorker worker_;
};

// Names and one-line descriptions of the built-in models, for `tributary-sim list models`.
struct ModelDescription {
  std::string name;
  std::string doc;
};
const std::vector<ModelDescription>& BuiltinModels();

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_TORCH_TRAINER_H_
