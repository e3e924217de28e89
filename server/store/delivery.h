// What a client is sent of a version: the one rule of the live host and of the simulator.
#ifndef TRIBUTARY_SERVER_STORE_DELIVERY_H_
#define TRIBUTARY_SERVER_STORE_DELIVERY_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "common/digest.h"
#include "common/ids.h"
#include "server/store/model_store.h"

namespace tributary {

// A version that a client holds, as it says.
struct HeldVersion {
  Version version = 0;
  Digest digest;  // of the model
};

// The deltas from the version that it holds, where all of them are there and together fewer bytes
// than the values; else the values. Errors as OpenModel.
absl::StatusOr<std::unique_ptr<ModelReader>> OpenDelivery(const ModelStore& store, const JobId& job,
                                                          Version version,
                                                          const std::optional<HeldVersion>& held);

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_DELIVERY_H_
