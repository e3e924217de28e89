// SpeedModel: how fast the virtual clients compute.
#ifndef TRIBUTARY_SIMULATOR_SPEED_H_
#define TRIBUTARY_SIMULATOR_SPEED_H_

#include "absl/time/time.h"
#include "common/registry.h"
#include "common/rng.h"

namespace tributary {

// Immutable, thread-safe.
class SpeedModel {
 public:
  virtual ~SpeedModel() = default;
  // A client's mean time for one optimizer step, drawn once for its life; > 0.
  virtual absl::Duration DrawStepTime(Rng& rng) const = 0;
  // The factor on it for one work order, drawn each time; > 0, mean about 1.
  virtual double DrawJitter(Rng& rng) const = 0;
};

const Registry<SpeedModel>& SpeedRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_SPEED_H_
