// VersionDelta: what makes a version of a model of the one before it. The server encodes it, once;
// every client that holds the one version applies it to have the other. ModelDifference does that
// for any model, adapter_step.h for those that are tuned through adapters.
//
// With an empty codec a delta is exact: the distances between the two versions' floats, counted in
// floats, split into byte planes and compressed (docs/wire_format.md). With any other it is the
// payload of an update (update_payload.h): new minus old in that codec, then the buffers; what
// Apply makes of the old version then is not quite the new one, but the same on both ends.
#ifndef TRIBUTARY_COMMON_CODEC_VERSION_DELTA_H_
#define TRIBUTARY_COMMON_CODEC_VERSION_DELTA_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/codec/codec.h"
#include "common/config/schema.h"
#include "common/ids.h"
#include "common/params/param_vector.h"

namespace tributary {

// The `downlink:` section of a job.
struct DownlinkSpec {
  std::vector<config::Choice> codec;  // empty: exact

  static void Describe(config::Fields<DownlinkSpec>& fields);
};

// Immutable and thread-safe.
class VersionDelta {
 public:
  virtual ~VersionDelta() = default;

  // Makes `version` of `model`, which is the one before. Takes hostile bytes: allocates no more
  // than in proportion to the model. InvalidArgument: what is wrong with them; the model is then
  // of no use. That the result is the right one, its digest says.
  virtual absl::Status Apply(Version version, std::string bytes, ParamVector& model) const = 0;
};

class ModelDifference final : public VersionDelta {
 public:
  // InvalidArgument for a codec that makes no sense, with the reason.
  static absl::StatusOr<std::unique_ptr<const ModelDifference>> Create(const DownlinkSpec& spec);

  // True if Apply makes the new version to the bit.
  bool exact() const { return codec_ == nullptr; }

  // From the version before `version` to it. Both are finite and of one layout.
  std::string Encode(Version version, const ParamVector& before, const ParamVector& after) const;

  absl::Status Apply(Version version, std::string bytes, ParamVector& model) const override;

 private:
  explicit ModelDifference(std::unique_ptr<const Codec> codec) : codec_(std::move(codec)) {}
  const std::unique_ptr<const Codec> codec_;  // null: exact
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_VERSION_DELTA_H_
