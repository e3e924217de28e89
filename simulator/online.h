// OnlineModel: when a virtual client is online, as periods one after another. Made for a number
// of clients and a generator, of which client i uses Split(i) alone.
#ifndef TRIBUTARY_SIMULATOR_ONLINE_H_
#define TRIBUTARY_SIMULATOR_ONLINE_H_

#include <cstdint>

#include "absl/time/time.h"
#include "common/registry.h"
#include "common/rng.h"

namespace tributary {

// [from, to). Both InfiniteFuture: never again.
struct OnlinePeriod {
  absl::Time from = absl::InfiniteFuture();
  absl::Time to = absl::InfiniteFuture();
  bool operator==(const OnlinePeriod&) const = default;
};

// Immutable, thread-safe.
class OnlineModel {
 public:
  virtual ~OnlineModel() = default;
  // The client's n-th period, from 0. `after` is the end of the one before, the start of virtual
  // time (absl::UnixEpoch) for the first; the period does not begin earlier and is not empty.
  virtual OnlinePeriod Period(int64_t client, int64_t n, absl::Time after) const = 0;
};

// always | markov | trace. InvalidArgument, NotFound: the trace's file; see trace.h.
const Registry<OnlineModel, int64_t, const Rng&>& OnlineRegistry();

}  // namespace tributary

#endif  // TRIBUTARY_SIMULATOR_ONLINE_H_
