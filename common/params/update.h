// Update: what one client returns for one work order, decoded.
//
// The delta stays in the form in which it travelled (dense, sparse, quantised …) behind
// DeltaPayload, which knows one thing: how to add itself, in one fused pass, to an
// accumulator. Codecs implement it, aggregators call it, and neither knows the other.
#ifndef TRIBUTARY_COMMON_PARAMS_UPDATE_H_
#define TRIBUTARY_COMMON_PARAMS_UPDATE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/ids.h"
#include "common/params/param_layout.h"

namespace tributary {

// Half-open range of trainable coordinates.
struct CoordinateRange {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
};

// delta = trained − base over the trainable coordinates [0, layout.trainable_size()),
// so the server adds. Immutable, thread-safe.
class DeltaPayload {
 public:
  virtual ~DeltaPayload() = default;

  // accumulator[i − range.begin] += weight · delta[i] for i in range.
  // accumulator.size() == range.size(). One multiply and one add per coordinate, in
  // index order, so that splitting the range over threads changes no bit.
  virtual void AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const = 0;

  // OutOfRange naming the first value that no update may have (common/codec/value_check.h).
  virtual absl::Status CheckFinite() const = 0;

  // DataLoss once an AddTo could not read the delta from where it is: what was added then is of
  // no use.
  virtual absl::Status status() const { return absl::OkStatus(); }
};

// What the client says of its work. Checked by the coordinator before use.
struct UpdateInfo {
  WorkOrderId work_order = 0;
  Version base_version = 0;
  int64_t num_examples = 0;  // examples that took part in training; >= 1
  int64_t local_steps = 0;   // optimizer steps done; >= 1
  double learning_rate = 0;  // of the last step
  double loss = 0;           // mean training loss over the steps
  double accuracy = 0;       // mean training accuracy over the steps, [0, 1]; 0 if n/a
  int64_t adapter_rank =
      0;  // the work order's: the delta is an adapter's of this rank; 0: a model's
};

struct Update {
  UpdateInfo info;
  std::unique_ptr<const DeltaPayload> delta;
  std::vector<float> buffers;  // values (not differences), [layout.buffer_size()]
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_UPDATE_H_
