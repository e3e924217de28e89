// PruneMask: a mask from the loss landscape that clients explored (AutoFLIP: Interno et al. 2024,
// "Federated Hybrid Model Pruning through Loss Landscape Exploration", arXiv 2405.10271v3, as
// docs/algorithms/pruning.md defines it).
//
//   d_m = (θ_m − θ_0)²    what explorer m's training moved, from one common θ_0
//   v   = mean of d_m / mean(d_m) over explorers: who trains more does not count more
//   g   = v per tensor, normalised         M = the ⌈(1 − q)·P⌉ weights with the largest g
//
// q: quantile; P: the weights. Of equal g the one with the smaller index stays. Tensors with fewer
// than two dimensions (biases, norms) are exempt. The mask also clears pruned weights in the model.
// With every_versions clients explore again and again, from the θ_0 of then; weights that were
// pruned begin at 0 and may come back. A unit that was removed has no gradient and stays away.
#ifndef TRIBUTARY_AGGREGATORS_TRANSFORM_PRUNE_MASK_H_
#define TRIBUTARY_AGGREGATORS_TRANSFORM_PRUNE_MASK_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregators/transform/update_transform.h"
#include "common/config/schema.h"
#include "common/params/layer_chain.h"
#include "common/train_spec/train_spec.h"

namespace tributary {

struct PruneMaskOptions {
  double quantile = 0.3;  // q
  std::optional<double> density;
  std::string score = "deviation";
  std::string normalization = "minmax";
  double floor = 0.05;
  bool structured = false;
  std::optional<double> width;
  double unit_threshold = 0.1;
  int64_t seed = 1;
  std::optional<int64_t> every_versions;
  ExploreSpec exploration;

  static void Describe(config::Fields<PruneMaskOptions>& fields);
  absl::Status Validate() const;
  double Density() const { return density.value_or(1 - quantile); }  // 1 − q
};

// What clients answer: d_m / mean(d_m) over all trainable coordinates, as a vector of the model's
// trainable tensors; with score `agreement` then (θ_m − θ_0) / √mean(d_m), as "t.shift" for every
// tensor t. All zero if nothing moved. The request's options are those of the exploration.
class PruneMask final : public UpdateTransform {
 public:
  using Options = PruneMaskOptions;

  // InvalidArgument: a model without weights; structured: one that is no chain (layer_chain.h).
  static absl::StatusOr<std::unique_ptr<PruneMask>> Create(const Options& options,
                                                           const TransformDeps& deps);

  // Clears what is pruned. Before the first Learn there is nothing to clear.
  absl::Status Apply(Aggregate& aggregate, const TransformContext& context) override;
  Effect effect() const override { return Effect::kMasks; }

  const CollectRequest* collects() const override { return request_.get(); }
  // InvalidArgument: a sum or a model of another size, no contribution; OutOfRange: a sum that is
  // not finite.
  absl::Status Learn(absl::Span<const double> sum, int64_t contributions, absl::Span<float> model,
                     const TransformContext& context) override;
  std::shared_ptr<const Mask> mask() const override { return mask_; }

  absl::Status Restored() override;
  // "mask": 24 coordinates a value, as an integer that float32 holds, the first in the lowest bit.
  StateRefs State() override { return {.vectors = {{"mask", &packed_}}, .scalars = {}}; }

 private:
  PruneMask(const Options& options, const TransformDeps& deps) : options_(options), deps_(deps) {}

  absl::Status MakeRequest();
  std::vector<double> Guidance(absl::Span<const double> sum, int64_t contributions,
                               absl::Span<const float> model) const;
  std::vector<bool> KeepWeights(absl::Span<const double> guidance) const;
  std::vector<bool> KeepUnits(absl::Span<const double> guidance) const;

  const Options options_;
  const TransformDeps deps_;
  std::vector<const ParamLayout::Tensor*> weights_;
  std::vector<ChainLayer> chain_;  // structured alone
  std::unique_ptr<const CollectRequest> request_;

  ParamVector packed_;  // empty before the first Learn
  std::shared_ptr<const Mask> mask_;
};

}  // namespace tributary

#endif  // TRIBUTARY_AGGREGATORS_TRANSFORM_PRUNE_MASK_H_
