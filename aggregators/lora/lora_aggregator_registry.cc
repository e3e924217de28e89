#include "aggregators/lora/factor_mean.h"
#include "aggregators/lora/lora_aggregator.h"
#include "aggregators/lora/product_rules.h"
#include "aggregators/lora/stacking.h"

namespace tributary {

const Registry<LoraAggregator, const LoraDeps&>& LoraAggregatorRegistry() {
  using R = Registry<LoraAggregator, const LoraDeps&>;
  static const R* const registry = new R(
      "adapter aggregator",
      {
          R::Of<LoraStacking>("lora_stacking", "the exact sum of the products, merged"),
          R::Of<LoraAverage>("lora_average", "means of the factors; one rank"),
          R::Of<LoraZeroPadding>("lora_zero_padding", "means of the factors, padded to one rank"),
          R::Of<Ffa>("ffa", "A random and frozen, the mean of B"),
          R::Of<HetLora>("hetlora", "means of the padded factors, weighted by their norms"),
          R::Of<FlexLora>("flexlora", "the best adapter for the sum of the products"),
          R::Of<FedEx>("fedex", "means of the factors, and what these lack is merged; one rank"),
          R::Of<LoraFair>("lora_fair",
                          "means of the factors, B corrected towards the sum; one rank"),
          R::Of<RoLora>("rolora", "the mean of B and of A, in turns"),
          R::Of<FedSa>("fedsa", "the mean of A; each client keeps its B"),
      });
  return *registry;
}

}  // namespace tributary
