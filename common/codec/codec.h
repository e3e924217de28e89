// Codec: the form in which an update's delta travels.
//
// A codec turns the trainable coordinates of a delta into bytes on the client and back
// into a DeltaPayload on the server. Decode takes hostile bytes: it trusts no size before
// checking it against the layout, and a failure leaves nothing behind.
#ifndef TRIBUTARY_COMMON_CODEC_CODEC_H_
#define TRIBUTARY_COMMON_CODEC_CODEC_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/params/param_layout.h"
#include "common/params/update.h"
#include "common/rng.h"

namespace tributary {

// What both ends know without being told: it travels in the work order.
struct CodecContext {
  LayoutPtr layout;
  Rng rng{0};  // seeded by the work order, for stochastic rounding
};

// Stateless and thread-safe; one object serves every update of a job.
class Codec {
 public:
  virtual ~Codec() = default;

  // `delta` is [layout.trainable_size()], finite. Does not fail on finite input.
  virtual std::string Encode(absl::Span<const float> delta, const CodecContext& context) const = 0;

  // Takes the bytes over, so that a payload can use them in place.
  // InvalidArgument: what is wrong and at which byte.
  virtual absl::StatusOr<std::unique_ptr<const DeltaPayload>> Decode(
      std::string bytes, const CodecContext& context) const = 0;

  // True if Decode(Encode(x)) == x to the bit for every finite x.
  virtual bool lossless() const = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_CODEC_H_
