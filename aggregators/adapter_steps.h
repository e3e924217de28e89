// Which of a pipeline's steps go with a rule that combines adapters.
#ifndef TRIBUTARY_AGGREGATORS_ADAPTER_STEPS_H_
#define TRIBUTARY_AGGREGATORS_ADAPTER_STEPS_H_

#include "absl/status/status.h"
#include "aggregators/pipeline.h"

namespace tributary {

// `spec.combines_adapters()`. InvalidArgument with the reason and the remedy:
//
//   a rule that moves the weights     steps that keep the rank of what adapters add
//   one that keeps an adapter         steps over its factors, none of which may forget
//   fedex, which does both            none
absl::Status CheckAdapterSteps(const AggregationSpec& spec);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_ADAPTER_STEPS_H_
