// LoraDeltaLog: the steps between versions, so that a client that holds any of the last ones can
// catch up.
//
// What was applied adds up exactly: the sum of low-rank steps is their concatenation. Where that
// would be no smaller than the weight it is brought to the least rank that holds it, and if that
// is not enough the sum is formed. Nothing is approximated: replicas that took other ways to a
// version hold the same weights up to the rounding of their additions.
#ifndef TRIBUTARY_AGGREGATORS_LORA_DELTA_LOG_H_
#define TRIBUTARY_AGGREGATORS_LORA_DELTA_LOG_H_

#include <deque>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/ids.h"
#include "common/lora/module_delta.h"

namespace tributary {

// Memory: the deltas it holds. Thread-compatible.
class LoraDeltaLog {
 public:
  explicit LoraDeltaLog(Version first) : first_(first) {}

  Version first() const { return first_; }
  Version latest() const { return first_ + static_cast<Version>(deltas_.size()); }

  // What made `version` of the one before. FailedPrecondition unless that is the next;
  // InvalidArgument if the modules or shapes are not those of the log.
  absl::Status Append(Version version, ModelDelta delta);

  // What makes latest() of `base`; of rank 0 everywhere if they are one version and there is a step
  // to know the modules from. OutOfRange if the log does not reach back that far, or not as far
  // forward: the client needs the whole model. Internal if a decomposition fails.
  absl::StatusOr<ModelDelta> Since(Version base) const;

  // Drops the steps that lead to versions up to `version`, which becomes first().
  void ForgetBefore(Version version);

 private:
  Version first_;
  std::deque<ModelDelta> deltas_;  // [i] makes first_ + i + 1
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_DELTA_LOG_H_
