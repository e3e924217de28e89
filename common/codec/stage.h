// CodecStage: one entry of a job's `codec:` list. There are three kinds, and a list has them in
// this order (common/codec/pipeline.h puts them together):
//
//   Selector    which of the values travel      masked, topk, randk      any number
//   Format      how a value is written          raw, fp16, int8, sign …  at most one; none: raw
//   Compressor  bytes into fewer bytes          zstd                     at most one
//
// Every Read, Decode and Decompress takes hostile bytes: it trusts no size before checking it
// against what the caller knows, allocates no more than that, and its errors are InvalidArgument
// that begin with the stage's name and say what is wrong. Stages are immutable and thread-safe.
#ifndef TRIBUTARY_COMMON_CODEC_STAGE_H_
#define TRIBUTARY_COMMON_CODEC_STAGE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/ids.h"
#include "common/params/mask.h"
#include "common/params/update.h"
#include "common/rng.h"

namespace tributary {

class CodecStage {
 public:
  enum class Kind { kSelector, kFormat, kCompressor };

  virtual ~CodecStage() = default;
  virtual Kind kind() const = 0;
  // True if the stage gives back what it was given, to the bit.
  virtual bool lossless() const = 0;
};

// Ascending, each once, all below the size of what they were chosen from.
using Positions = std::vector<uint32_t>;

// The values that a selector chooses from: those that the stages before it let through.
struct SelectionDomain {
  size_t size = 0;
  // Where each tensor's values end: ascending, the last is `size`. A tensor may have none.
  std::vector<size_t> tensor_ends;
  const Mask* mask = nullptr;  // of the job, over the trainable coordinates; null: none
  Rng rng{0};                  // of the work order; the same on both ends
  Version version = 0;         // that the update is based on
};

class Selector : public CodecStage {
 public:
  Kind kind() const final { return Kind::kSelector; }
  bool lossless() const override { return false; }

  // Chooses from `values` [domain.size], finite, and appends to `out` what the receiver needs to
  // know the choice: nothing, if it can tell by itself.
  virtual Positions Select(absl::Span<const float> values, const SelectionDomain& domain,
                           std::string& out) const = 0;
  // The same choice from the front of `bytes`, which it takes off.
  virtual absl::StatusOr<Positions> Read(absl::string_view& bytes,
                                         const SelectionDomain& domain) const = 0;
  // Factor on the chosen values that makes the decoded update unbiased: domain size over
  // number chosen for a choice at random, 1 otherwise. Not applied with error feedback, which
  // sends later what was left out.
  virtual float Unbiased(size_t /*size*/, size_t /*chosen*/) const { return 1.0F; }
};

class Format : public CodecStage {
 public:
  Kind kind() const final { return Kind::kFormat; }

  // The bytes of `count` values; exact. Monotone in `count`, at most 4·count + 8.
  virtual size_t BytesOf(size_t count) const = 0;
  // The bytes of one value where value n stands at n times that, whatever its neighbours, and
  // Check has nothing to find: such a payload can be read in pieces. 0: not so.
  virtual size_t ValueBytes() const { return 0; }
  // Appends BytesOf(values.size()) bytes. `rng` is for stochastic rounding. Values are finite; one
  // that is not stays so, or makes its block so: the receiver must still see it.
  virtual void Encode(absl::Span<const float> values, Rng rng, std::string& out) const = 0;
  // InvalidArgument for bytes that Encode never writes, where the format has such; the size is
  // the caller's business.
  virtual absl::Status Check(absl::string_view /*bytes*/, size_t /*count*/) const {
    return absl::OkStatus();
  }
  // accumulator[i − range.begin] += weight · value[i] for i in `range` of `count` values, in one
  // fused pass; as DeltaPayload::AddTo. `bytes` has BytesOf(count) bytes that passed Check, at
  // any alignment.
  virtual void AddTo(absl::string_view bytes, size_t count, float weight, CoordinateRange range,
                     absl::Span<float> accumulator) const = 0;
};

class Compressor : public CodecStage {
 public:
  Kind kind() const final { return Kind::kCompressor; }
  bool lossless() const final { return true; }

  virtual std::string Compress(absl::string_view bytes) const = 0;
  // InvalidArgument also for what would become more than `most` bytes, of which no more than
  // those are ever allocated, and for bytes after the end.
  virtual absl::StatusOr<std::string> Decompress(absl::string_view bytes, size_t most) const = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_STAGE_H_
