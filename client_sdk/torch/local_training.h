// Local training: a client's optimizer steps on its own data.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_TRAINING_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_TRAINING_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client_sdk/torch/batch_buffer.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/torch/torch_trainer.h"
#include "client_sdk/trainer.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

// What is trained, and how. Its layout and its values may be those of a part of the task's model:
// of a submodel.
struct LocalTraining {
  TorchModel& model;
  LayoutPtr layout;
  const TrainSpec& spec;
  const Mask* mask = nullptr;        // cleared after every step; null: nothing is
  absl::Span<const float> previous;  // the values of TrainTask::previous; empty: not known
  std::optional<int64_t> patience;   // passes without a lower mean loss after which it ends
};

// Floating-point operations of training on one example once, two for each of the model's
// TrainMultiplyAdds (TorchWorker::TrainFlopsPerExample; AdaptedModel's are fewer).
int64_t TrainFlops(const TorchModel& model, const ParamLayout& layout);

// Trains `values`, all those of what.layout, in place, as far as it comes; uses `batch`, which
// holds spec.batch_size examples or all. Errors as TorchWorker::Train.
absl::StatusOr<TrainResult> TrainLocally(const TrainTask& task, const LocalTraining& what,
                                         const DataView& data, BatchBuffer& batch,
                                         absl::Span<float> values);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_LOCAL_TRAINING_H_
