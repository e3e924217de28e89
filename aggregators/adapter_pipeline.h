// What is particular to a Pipeline whose rule combines adapters: which steps go with it (here), and
// its half of Pipeline's functions (in the source).
#ifndef TRIBUTARY_AGGREGATORS_ADAPTER_PIPELINE_H_
#define TRIBUTARY_AGGREGATORS_ADAPTER_PIPELINE_H_

#include "absl/status/status.h"
#include "aggregators/pipeline.h"

namespace tributary {

// `spec.combines_adapters()`. InvalidArgument with the reason and the remedy:
//
//   a rule that moves the weights     steps that keep the rank of what adapters add
//   one that keeps an adapter         steps over its factors, none of which may forget
//   fedex, which does both            none
absl::Status CheckAdapterPipeline(const AggregationSpec& spec);

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_ADAPTER_PIPELINE_H_
