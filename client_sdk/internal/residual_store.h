// ResidualStore: what the codec left out of this client's last accepted update to each job, for
// error feedback (common/codec/error_feedback.h).
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_RESIDUAL_STORE_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_RESIDUAL_STORE_H_

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/codec/error_feedback.h"
#include "common/ids.h"

namespace tributary::sdk {

// Whose residual it is: no client uses another's.
struct ResidualOwner {
  ClientId client;
  JobId job;
};

// A residual as a safetensors file with its owner, weight and digest in the metadata, and its
// momentum as further tensors; replaced as a whole and durable.
absl::Status WriteResidual(const std::string& path, const ResidualOwner& owner,
                           const Residual& residual);
// NotFound; FailedPrecondition: another's; DataLoss and the codes of ReadSafetensors: damaged.
absl::StatusOr<Residual> ReadResidual(const std::string& path, const ResidualOwner& owner);

// In memory; and, if there is a folder, each job's there as `<job>.safetensors`. A file that
// cannot be used is logged and removed, one that cannot be written is logged and removed too: an
// old residual must not stand for a new one. Thread-compatible.
class ResidualStore {
 public:
  // `directory` is created when it is first written to; empty: memory only.
  ResidualStore(std::string directory, ClientId client);

  // Null: nothing was left out. Valid until the next call.
  const Residual* Find(const JobId& job);

  // The server has accepted an update that leaves this; nothing: error feedback begins anew.
  void Commit(const JobId& job, std::optional<Residual> residual);

 private:
  std::string PathOf(const JobId& job) const;

  const std::string directory_;
  const ClientId client_;
  std::map<JobId, std::optional<Residual>> residuals_;  // nothing: looked for, and there is none
};

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_RESIDUAL_STORE_H_
