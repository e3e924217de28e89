#include "aggregators/combine/aggregator.h"
#include "aggregators/combine/fedavg.h"

namespace tributary {

const Registry<Aggregator, const AggregatorDeps&>& AggregatorRegistry() {
  using R = Registry<Aggregator, const AggregatorDeps&>;
  static const R* const registry =
      new R("aggregator", {
                              R::Of<FedAvgAggregator>("fedavg", "weighted mean of the updates"),
                          });
  return *registry;
}

}  // namespace tributary
