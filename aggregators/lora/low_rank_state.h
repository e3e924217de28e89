// Low-rank matrices as the state of a job (aggregators/state.h): tensors "<module>.A" [r, n] and
// "<module>.B" [m, r].
#ifndef TRIBUTARY_AGGREGATORS_LORA_LOW_RANK_STATE_H_
#define TRIBUTARY_AGGREGATORS_LORA_LOW_RANK_STATE_H_

#include "absl/status/statusor.h"
#include "common/lora/low_rank.h"
#include "common/params/param_vector.h"

namespace tributary {

// Empty if there is no module. InvalidArgument: a module's name that a layout does not take.
absl::StatusOr<ParamVector> PackFactors(const LowRankModel& factors);

// The other way; what is not of that form is left out.
LowRankModel UnpackFactors(const ParamVector& packed);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_LORA_LOW_RANK_STATE_H_
