// LoraPlan: which modules of a model have adapters, and how adapters, models that hold one and
// low-rank matrices become one another.
//
//   model     the tensors of an ordinary model; under a rule that keeps an adapter also its factors
//             "<module>.lora_A.weight" [R, n] and "<module>.lora_B.weight" [m, R], of scale 1 and
//             the highest rank R: what the weights are worked with is W + B·A
//   adapter   what one client trains: the same names, all of the client's rank, of its own scale
//
// Both are ParamVectors: an adapter is encoded, sent and checked as any model's values are.
#ifndef TRIBUTARY_COMMON_LORA_LORA_PLAN_H_
#define TRIBUTARY_COMMON_LORA_LORA_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/lora/lora_spec.h"
#include "common/lora/low_rank.h"
#include "common/lora/module_delta.h"
#include "common/params/param_vector.h"
#include "common/rng.h"

namespace tributary {

struct LoraModule {
  std::string name;         // "h.0.attn.c_attn"
  std::string weight;       // the tensor: name + ".weight"
  int64_t rows = 0;         // m, outputs
  int64_t columns = 0;      // n, inputs: of a convolution channels · height · width of its kernel
  bool transposed = false;  // the tensor is [n, m]
};

// Immutable, thread-safe.
class LoraPlan {
 public:
  // `model`: the layout of an ordinary model, or one that holds the rule's adapter.
  // `transposed_weights`: where the spec does not say it. InvalidArgument: targets that match no
  // trainable weight of two dimensions or more, with the names that there are; an adapter in the
  // model that is not this job's.
  static absl::StatusOr<std::shared_ptr<const LoraPlan>> Create(const LoraSpec& spec,
                                                                const LoraRule& rule,
                                                                const ParamLayout& model,
                                                                bool transposed_weights);
  static absl::StatusOr<std::shared_ptr<const LoraPlan>> Create(const LoraTerms& terms,
                                                                const ParamLayout& model);

  const LoraSpec& spec() const { return spec_; }
  const LoraRule& rule() const { return rule_; }
  const std::vector<LoraModule>& modules() const { return modules_; }  // in the layout's order
  const LoraModule& module(absl::string_view name) const;              // that there is

  // Of the model without an adapter, and of what versions hold.
  const LayoutPtr& ordinary() const { return ordinary_; }
  const LayoutPtr& model() const { return model_; }
  // Module by module A, then B; or the one factor. rank >= 1.
  LayoutPtr AdapterLayout(int64_t rank, AdapterFactors factors = AdapterFactors::kBoth) const;

  // The first version: the model as it is, with a fresh adapter under a rule that keeps one.
  ParamVector FirstModel(ParamVector ordinary, uint64_t seed) const;
  // The adapter that a version keeps; empty under a rule that keeps none, and of an ordinary model.
  LowRankModel KeptAdapter(const ParamVector& model) const;
  // What a client that trains with an order of this seed begins with: a slice of the adapter that
  // the order's version keeps, or a fresh one.
  ParamVector StartAdapter(const LowRankModel& kept, int64_t rank, uint64_t order_seed) const;
  ParamVector StartAdapter(const ParamVector& model, int64_t rank, uint64_t order_seed) const {
    return StartAdapter(KeptAdapter(model), rank, order_seed);
  }
  // What is sent of an adapter that was trained from a start on this version: trained − start, of
  // the factors that the rule sends.
  ParamVector Sent(const ParamVector& trained, const ParamVector& start, int64_t rank,
                   Version base) const;
  // The ordinary model that the model is worked with: W + B·A.
  ParamVector Merged(const ParamVector& model) const;
  // W + s·B·A of the client's adapter, in place of the model's own.
  ParamVector Merged(const ParamVector& model, const ParamVector& adapter, int64_t rank) const;

  // The factors of an adapter, or of what a model keeps; a factor that is not there stays empty.
  LowRankModel FactorsOf(const ParamVector& from, int64_t rank) const;
  // Into `to`, which has both factors of every module; what it has more ranks of is filled up with
  // fresh rows of A, which change nothing while their B is 0.
  void PutFactors(const LowRankModel& factors, Rng fresh, ParamVector& to) const;
  // weights += delta, `model` of either layout.
  void AddToWeights(const ModelDelta& delta, ParamVector& model) const;

 private:
  LoraPlan() = default;
  // Both factors of every module of `to`: InitPair of what there is, or fresh ones.
  void Begin(const LowRankModel& from, double scale, Rng fresh, ParamVector& to) const;

  LoraSpec spec_;
  LoraRule rule_;
  std::vector<LoraModule> modules_;
  LayoutPtr ordinary_;
  LayoutPtr model_;
};

// "<module>.lora_A.weight"
std::string FactorName(absl::string_view module, char factor);

// The tensors of `to` that `from` has under the same names and sizes.
void CopyShared(const ParamVector& from, ParamVector& to);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_LORA_LORA_PLAN_H_
