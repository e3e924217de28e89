#include "aggregators/lora/delivery.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aggregators/lora/low_rank_products.h"
#include "aggregators/lora/recompression.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<LoraDelivery>> LoraDelivery::Create(
    const LoraDeliveryOptions& options) {
  TRIB_ASSIGN_OR_RETURN(auto policy, RankPolicyRegistry().Create(options.rank));
  return std::unique_ptr<LoraDelivery>(new LoraDelivery(options, std::move(policy)));
}

absl::StatusOr<Delivered> LoraDelivery::Deliver(const LowRankModel& sum) {
  if (options_.delivery == "recompressed") return DeliverRecompressed(sum);
  Delivered delivered;
  for (const auto& [name, factors] : sum) {
    ModuleDelta& module = delivered.modules[name];
    module = DeltaOf(factors, options_.delivery == "dense");
    delivered.values += DeltaValues(module);
  }
  return delivered;
}

absl::StatusOr<LowRankModel> LoraDelivery::WithTail(const LowRankModel& sum) const {
  LowRankModel all = sum;
  for (const auto& [name, waiting] : tail_) {
    const auto [module, is_alone] = all.try_emplace(name, waiting);
    if (is_alone) continue;
    LowRank& block = module->second;
    if (block.rows != waiting.rows || block.columns != waiting.columns) {
      return absl::FailedPreconditionError(
          absl::StrCat("adapter module '", name, "': the tail is [", waiting.rows, ", ",
                       waiting.columns, "]; the sum is [", block.rows, ", ", block.columns, "]"));
    }
    block = Concatenate({&block, &waiting});
  }
  return all;
}

absl::StatusOr<Delivered> LoraDelivery::DeliverRecompressed(const LowRankModel& sum) {
  TRIB_ASSIGN_OR_RETURN(LowRankModel all, WithTail(sum));
  TRIB_ASSIGN_OR_RETURN(Recompression parts, Recompress(all, *policy_));
  Delivered delivered;
  LowRankModel tail;
  for (auto& [name, part] : parts) {
    ModuleDelta& module = delivered.modules[name];
    if (DenseIsNoLarger(part.kept.rows, part.kept.columns, part.kept.rank)) {
      module = DeltaOf(std::move(all[name]), true);
      delivered.sent_energy += part.kept_energy + part.tail_energy;
    } else {
      delivered.sent_energy += part.kept_energy;
      const int64_t waits =
          options_.error_feedback ? std::min(part.tail.rank, options_.max_tail_rank) : 0;
      // Its columns are orthogonal: the energy of a part is its norm.
      LowRank kept_tail = Slice(part.tail, 0, waits);
      const double waiting =
          waits == part.tail.rank ? part.tail_energy : InnerProduct(kept_tail, kept_tail);
      delivered.tail_energy += waiting;
      delivered.dropped_energy += std::max(0.0, part.tail_energy - waiting);
      if (waits > 0) tail[name] = std::move(kept_tail);
      module = DeltaOf(std::move(part.kept));
    }
    delivered.values += DeltaValues(module);
  }
  tail_ = std::move(tail);
  return delivered;
}

}  // namespace tributary
