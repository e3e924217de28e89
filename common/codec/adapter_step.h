// AdapterStep: what makes a version of a model that is tuned through adapters of the one before:
// what is added to the weights, as factors where these are smaller, and the next adapter that the
// model keeps. What does not change does not travel.
//
// Bytes (docs/wire_format.md): the length of a layout, u32 little-endian; the layout as JSON; its
// values in the downlink's codec, raw by default. Tensors by name:
//
//   <module>.delta_A [r, n], <module>.delta_B [m, r]   W += B·A
//   <module>.delta [m, n]                              W += delta
//   <module>.lora_A.weight, <module>.lora_B.weight     the adapter's new values
#ifndef TRIBUTARY_COMMON_CODEC_ADAPTER_STEP_H_
#define TRIBUTARY_COMMON_CODEC_ADAPTER_STEP_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/codec/version_delta.h"
#include "common/lora/lora_plan.h"
#include "common/lora/lora_spec.h"

namespace tributary {

struct AdapterStep {
  ModelDelta weights;   // of rank 0, or not there: the weight stays
  ParamVector adapter;  // tensors of the kept adapter; empty: it stays
};

// model <- step. `model` is of the plan's model().
void ApplyStep(const LoraPlan& plan, const AdapterStep& step, ParamVector& model);

// Immutable and thread-safe.
class AdapterStepCodec final : public VersionDelta {
 public:
  // InvalidArgument: a codec that makes no sense.
  static absl::StatusOr<std::unique_ptr<const AdapterStepCodec>> Create(const DownlinkSpec& spec,
                                                                        LoraTerms terms);

  // With a codec that loses something `step` becomes what clients make of the bytes, which is what
  // the server is to apply too. OutOfRange: a value that is not finite.
  absl::StatusOr<std::string> Encode(Version version, AdapterStep& step) const;

  absl::Status Apply(Version version, std::string bytes, ParamVector& model) const override;

 private:
  AdapterStepCodec(std::unique_ptr<const Codec> codec, LoraTerms terms)
      : codec_(std::move(codec)), terms_(std::move(terms)) {}
  // Of bytes that are those of a step for this model.
  absl::StatusOr<AdapterStep> Decode(Version version, std::string bytes,
                                     const LoraPlan& plan) const;

  const std::unique_ptr<const Codec> codec_;
  const LoraTerms terms_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_ADAPTER_STEP_H_
