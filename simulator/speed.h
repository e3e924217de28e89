// SpeedModel: how fast the virtual clients compute.
//
// A model is made for a number of clients and a generator. Client i draws from the generator's
// Split(i) alone, so that more clients change nothing for those before them.
#ifndef TRIBUTARY_SIMULATOR_SPEED_H_
#define TRIBUTARY_SIMULATOR_SPEED_H_

#include <cstdint>

#include "absl/time/time.h"
#include "common/registry.h"
#include "common/rng.h"

namespace tributary {

// Immutable, thread-safe.
class SpeedModel {
 public:
  virtual ~SpeedModel() = default;
  // The client's mean time for one optimizer step, the same at each call; > 0.
  virtual absl::Duration StepTime(int64_t client) const = 0;
  // The factor on it for one work order, drawn each time; > 0, mean about 1.
  virtual double DrawJitter(Rng& rng) const = 0;
};

// constant | normal | exponential | lognormal | uniform | trace. InvalidArgument, NotFound: the
// trace's file; see trace.h.
const Registry<SpeedModel, int64_t, const Rng&>& SpeedRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_SPEED_H_
