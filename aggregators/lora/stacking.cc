#include "aggregators/lora/stacking.h"

#include <utility>

#include "common/status_macros.h"

namespace tributary {

void AdapterStack::Add(double weight, AcceptedUpdate update) {
  for (auto& [name, module] : update) {
    blocks_[name].push_back(
        {.factors = std::move(module.factors), .coefficient = weight * module.scale});
  }
}

LowRankModel AdapterStack::Finish(double divisor) && {
  LowRankModel sum;
  for (auto& [name, blocks] : blocks_) {
    std::vector<const LowRank*> factors;
    for (Block& block : blocks) {
      Multiply(block.coefficient / divisor, absl::MakeSpan(block.factors.a));
      factors.push_back(&block.factors);
    }
    sum[name] = Concatenate(factors);
    blocks.clear();
  }
  return sum;
}

absl::StatusOr<std::unique_ptr<LoraStacking>> LoraStacking::Create(const Options&,
                                                                   const LoraDeps& deps) {
  TRIB_RETURN_IF_ERROR(CheckDeps(deps));
  return std::unique_ptr<LoraStacking>(new LoraStacking(deps));
}

absl::StatusOr<LoraAggregate> LoraStacking::Finish() && {
  TRIB_ASSIGN_OR_RETURN(LoraAggregate aggregate, Counts());
  aggregate.delta = std::move(stack_).Finish(deps().given_coefficients ? 1.0 : aggregate.weight);
  return aggregate;
}

}  // namespace tributary
