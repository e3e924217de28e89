// Codec: the form in which an update's delta travels, as a job's `codec:` list says.
//
// A codec turns the trainable coordinates of a delta into bytes on the client and back
// into a DeltaPayload on the server. Decode takes hostile bytes: it trusts no size before
// checking it against the layout, and a failure leaves nothing behind.
#ifndef TRIBUTARY_COMMON_CODEC_CODEC_H_
#define TRIBUTARY_COMMON_CODEC_CODEC_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/codec/payload_bytes.h"
#include "common/config/schema.h"
#include "common/ids.h"
#include "common/params/mask.h"
#include "common/params/param_layout.h"
#include "common/params/update.h"
#include "common/rng.h"

namespace tributary {

// What both ends know without being told: it travels in the work order.
struct CodecContext {
  LayoutPtr layout;
  Rng rng{0};                  // seeded by the work order: for choices and rounding at random
  const Mask* mask = nullptr;  // of the base version; null: nothing is pruned
  int64_t task = 0;            // of a job that goes from task to task: for error feedback
  Version version = 0;         // that the delta starts from: for what changes with versions
};

// Judges a payload while its bytes come, so that after the last nothing is left to read again.
// Thread-compatible.
class PayloadCheck {
 public:
  virtual ~PayloadCheck() = default;
  // The next bytes, of any number.
  virtual void Take(absl::string_view bytes) = 0;
  // Once, after the last byte.
  virtual absl::Status Finish() = 0;
};

// Immutable and thread-safe; one object serves every update of a job.
class Codec {
 public:
  virtual ~Codec() = default;

  // `delta` is [layout.trainable_size()], finite. Does not fail on finite input.
  virtual std::string Encode(absl::Span<const float> delta, const CodecContext& context) const = 0;

  // Takes the bytes over, so that a payload can use them in place: in their file too, where the
  // form allows. InvalidArgument: what is wrong; DataLoss: the file cannot be read.
  virtual absl::StatusOr<std::unique_ptr<const DeltaPayload>> Decode(
      PayloadBytes bytes, const CodecContext& context) const = 0;

  // Says of a payload of `size` bytes what Decode and then CheckFinite say of it. Null where they
  // have to see it whole.
  virtual std::unique_ptr<PayloadCheck> NewCheck(uint64_t /*size*/,
                                                 const CodecContext& /*context*/) const {
    return nullptr;
  }

  // True if Decode(Encode(x)) == x to the bit for every finite x.
  virtual bool lossless() const = 0;
};

// The codec of a job's `codec:` list: a pipeline of stages (common/codec/stage.h), whose bytes
// docs/wire_format.md draws. An empty list is raw. InvalidArgument for a list that makes no sense,
// with the reason. `error_feedback`: what a payload leaves out is sent later, so random choices
// are not scaled up to be unbiased.
absl::StatusOr<std::unique_ptr<const Codec>> CreateCodec(const std::vector<config::Choice>& stages,
                                                         bool error_feedback = false);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_CODEC_H_
