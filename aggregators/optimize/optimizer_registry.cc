#include "aggregators/optimize/adaptive.h"
#include "aggregators/optimize/fedexp.h"
#include "aggregators/optimize/hypergradient.h"
#include "aggregators/optimize/momentum.h"
#include "aggregators/optimize/outer_momentum.h"
#include "aggregators/optimize/server_optimizer.h"
#include "aggregators/optimize/sgd.h"

namespace tributary {

const Registry<ServerOptimizer, const OptimizerDeps&>& OptimizerRegistry() {
  using R = Registry<ServerOptimizer, const OptimizerDeps&>;
  static const R* const registry = new R(
      "optimizer", {
                       R::Of<SgdOptimizer>("sgd", "the delta times a rate"),
                       R::Of<MomentumOptimizer>("momentum", "FedAvgM: a velocity of deltas"),
                       R::Of<AdamOptimizer>("adam", "FedAdam: a rate for each coordinate"),
                       R::Of<AdagradOptimizer>("adagrad", "FedAdagrad: rates that only fall"),
                       R::Of<YogiOptimizer>("yogi", "FedYogi: rates that change slowly"),
                       R::Of<FedExpOptimizer>("fedexp", "the further, the more updates differ"),
                       R::Of<OuterMomentumOptimizer>(
                           "outer_momentum", "CO2: a clipped momentum; stale deltas count less"),
                       R::Of<HypergradientOptimizer>(
                           "hypergradient", "FedHyper: a rate that follows the product of deltas"),
                   });
  return *registry;
}

}  // namespace tributary
