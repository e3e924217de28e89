#include "aggregators/lora/product_rules.h"

#include <algorithm>
#include <utility>

#include "Eigen/QR"
#include "aggregators/lora/matrix.h"
#include "aggregators/lora/product_svd.h"
#include "common/status_macros.h"

namespace tributary {

using lora::Matrix;

void MeanAndRest::Add(double weight, AcceptedUpdate update) {
  for (const auto& [name, module] : update) sums_[name].Add(weight, module);
  stack_.Add(weight, std::move(update));
}

void MeanAndRest::Finish(double weight, LowRankModel& mean, LowRankModel& rest) && {
  for (const auto& [name, sum] : std::move(stack_).Finish(weight)) {
    mean[name] = sums_.at(name).Mean();
    LowRank negative = mean[name];
    Multiply(-1.0, absl::MakeSpan(negative.b));
    rest[name] = Concatenate({&sum, &negative});
  }
}

absl::StatusOr<std::unique_ptr<FlexLora>> FlexLora::Create(const Options&, const LoraDeps& deps) {
  TRIB_RETURN_IF_ERROR(CheckDeps(deps));
  TRIB_RETURN_IF_ERROR(CheckAverages("flexlora", deps));
  return std::unique_ptr<FlexLora>(new FlexLora(deps));
}

void FlexLora::Add(double weight, AcceptedUpdate update) { stack_.Add(weight, std::move(update)); }

absl::StatusOr<LoraAggregate> FlexLora::Finish() && {
  TRIB_ASSIGN_OR_RETURN(LoraAggregate aggregate, Counts());
  for (const auto& [name, sum] : std::move(stack_).Finish(aggregate.weight)) {
    TRIB_ASSIGN_OR_RETURN(const ProductSvd svd, SvdOfProduct(sum));
    aggregate.start[name] = svd.Part(0, std::min(svd.rank(), deps().spec.max_rank));
  }
  return aggregate;
}

absl::StatusOr<std::unique_ptr<FedEx>> FedEx::Create(const Options&, const LoraDeps& deps) {
  TRIB_RETURN_IF_ERROR(CheckDeps(deps));
  TRIB_RETURN_IF_ERROR(CheckAverages("fedex", deps));
  TRIB_RETURN_IF_ERROR(CheckOneRank("fedex", deps));
  return std::unique_ptr<FedEx>(new FedEx(deps));
}

absl::StatusOr<LoraAggregate> FedEx::Finish() && {
  TRIB_ASSIGN_OR_RETURN(LoraAggregate aggregate, Counts());
  std::move(mean_).Finish(aggregate.weight, aggregate.start, aggregate.delta);
  return aggregate;
}

void LoraFair::Options::Describe(config::Fields<Options>& fields) {
  UpdateWeightOptions::DescribeFor(fields);
  fields.Add("ridge", &Options::ridge, "penalty on the correction of B").Min(0);
}

absl::StatusOr<std::unique_ptr<LoraFair>> LoraFair::Create(const Options& options,
                                                           const LoraDeps& deps) {
  TRIB_RETURN_IF_ERROR(CheckDeps(deps));
  TRIB_RETURN_IF_ERROR(CheckAverages("lora_fair", deps));
  TRIB_RETURN_IF_ERROR(CheckOneRank("lora_fair", deps));
  return std::unique_ptr<LoraFair>(new LoraFair(options, deps));
}

absl::StatusOr<LoraAggregate> LoraFair::Finish() && {
  TRIB_ASSIGN_OR_RETURN(LoraAggregate aggregate, Counts());
  LowRankModel rest;
  std::move(mean_).Finish(aggregate.weight, aggregate.start, rest);
  for (auto& [name, start] : aggregate.start) {
    const LowRank& error = rest.at(name);
    // Read column by column, row-major factors are their transposes.
    const Matrix at = lora::FromFloats(start.a, start.columns, start.rank);
    const Matrix error_at = lora::FromFloats(error.a, error.columns, error.rank);
    const Matrix error_bt = lora::FromFloats(error.b, error.rank, error.rows);
    Matrix gram = lora::Product(at, true, at, false);
    gram.diagonal().array() += options_.ridge;
    const Matrix cross =
        lora::Product(lora::Product(at, true, error_at, false), false, error_bt, false);
    const Matrix correction = gram.completeOrthogonalDecomposition().solve(cross);  // ΔBᵀ [r, m]
    for (size_t i = 0; i < start.b.size(); ++i) {
      start.b[i] = static_cast<float>(static_cast<double>(start.b[i]) + correction.data()[i]);
    }
  }
  return aggregate;
}

}  // namespace tributary
