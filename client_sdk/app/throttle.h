// A trainer made slow on purpose: --throttle, for tests and demonstrations with clients of
// different speeds on one machine.
#ifndef TRIBUTARY_CLIENT_SDK_APP_THROTTLE_H_
#define TRIBUTARY_CLIENT_SDK_APP_THROTTLE_H_

#include <memory>

#include "absl/time/time.h"
#include "client_sdk/trainer.h"
#include "common/clock.h"

namespace tributary {

// Trains as `trainer` does, but step k is not over before k · per_step have passed since the start:
// it waits in the progress callback, so the trainer must tell its progress after each step. The
// task's stop token ends the waiting. Zero: `trainer` itself. `clock` outlives it.
std::unique_ptr<Trainer> Throttled(std::unique_ptr<Trainer> trainer, absl::Duration per_step,
                                   Clock* clock);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_APP_THROTTLE_H_
