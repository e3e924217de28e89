// What a client does about an adapter before and after its training, whoever trains it.
//
//   start ──train──> trained ──> payload: trained − start of the factors that the rule sends
//                           └──> own: the factor that it does not, which the next training begins
//                                with (fedsa's B)
#ifndef TRIBUTARY_COMMON_CODEC_ADAPTER_UPDATE_H_
#define TRIBUTARY_COMMON_CODEC_ADAPTER_UPDATE_H_

#include "absl/status/statusor.h"
#include "common/codec/error_feedback.h"
#include "common/ids.h"
#include "common/lora/lora_plan.h"
#include "common/params/param_vector.h"

namespace tributary {

struct AdapterOrder {
  const LoraPlan& plan;
  int64_t rank = 0;
  Version base = 0;
  uint64_t seed = 0;  // of the work order
};

// `model`: the base. `own`: what stayed with the client, in the place of a residual; null: nothing.
// What is of another rank is not used.
ParamVector BeginAdapter(const AdapterOrder& order, const ParamVector& model, const Residual* own);

// EncodeUpdate of what is sent; in place of a residual what is not.
EncodedUpdate EncodeAdapter(const Codec& codec, const AdapterOrder& order, const ParamVector& start,
                            const ParamVector& trained);

// What the client evaluates: W + B·A of the adapter that the version keeps, with the client's own
// B, if it has one, in its place.
ParamVector EvaluatedModel(const LoraPlan& plan, const ParamVector& model, const Residual* own);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_ADAPTER_UPDATE_H_
