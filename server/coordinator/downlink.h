// Downlink: how a version reaches clients that hold the one before. A version is what clients hold:
// where the job's `downlink` codec loses something, that is not quite the model that the pipeline
// made, and what is missing goes into the next version.
//
//   w_v = m_v + e_{v−1}           m_v: the model that the pipeline made of version u_{v−1}
//   u_v = u_{v−1} + d_v           d_v: what clients decode of the delta, Q(w_v − u_{v−1})
//   e_v = w_v − u_v               the residual; e_0 = 0
//
// It is the error feedback of common/codec/error_feedback.h, on the server's side (Tang et al.
// 2019, DoubleSqueeze, Algorithm 1): nothing is lost, and errors do not add up.
#ifndef TRIBUTARY_SERVER_COORDINATOR_DOWNLINK_H_
#define TRIBUTARY_SERVER_COORDINATOR_DOWNLINK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/codec/version_delta.h"
#include "common/ids.h"
#include "common/params/param_vector.h"

namespace tributary {

// Thread-compatible. In memory beside its arguments: the residual; while it encodes two models
// more, and the delta.
class Downlink {
 public:
  // InvalidArgument: the codec.
  static absl::StatusOr<std::unique_ptr<Downlink>> Create(const DownlinkSpec& spec);

  // Makes `model`, which is m_v, the version u_v, and returns the delta that makes it of `before`,
  // u_{v−1}. Nothing where that would be no fewer bytes than the version's values: u_v is then w_v.
  std::string Encode(Version version, ParamVector before, ParamVector& model);

  // e_v; empty: zero. Part of a job's state.
  ParamVector& residual() { return residual_; }

 private:
  explicit Downlink(std::unique_ptr<const ModelDifference> delta) : delta_(std::move(delta)) {}
  const std::unique_ptr<const ModelDifference> delta_;
  ParamVector residual_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_COORDINATOR_DOWNLINK_H_
