#include "server/store/delivery.h"

#include <utility>

#include "common/log.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

absl::StatusOr<std::unique_ptr<ModelReader>> OpenDeltasFrom(const ModelStore& store,
                                                            const JobId& job, Version version,
                                                            const HeldVersion& held) {
  if (held.version < 0 || held.version >= version) return absl::NotFoundError("not an earlier one");
  TRIB_ASSIGN_OR_RETURN(const VersionRecord record, store.GetVersion(job, held.version));
  if (record.model_digest != held.digest) return absl::NotFoundError("another model");
  return store.OpenDeltas(job, held.version, version);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelReader>> OpenDelivery(const ModelStore& store, const JobId& job,
                                                          Version version,
                                                          const std::optional<HeldVersion>& held) {
  TRIB_ASSIGN_OR_RETURN(auto model, store.OpenModel(job, version));
  if (!held) return model;
  auto deltas = OpenDeltasFrom(store, job, version, *held);
  if (deltas.ok() && (*deltas)->size_bytes() < model->size_bytes()) return deltas;
  if (!deltas.ok() && !absl::IsNotFound(deltas.status())) {
    log::Warning("deltas not used", {{"job", job.value()}, {"error", deltas.status()}});
  }
  return model;
}

}  // namespace tributary
