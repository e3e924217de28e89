#include "common/lora/lora_plan.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/lora/adapter_start.h"
#include "common/params/name_pattern.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr absl::string_view kWeight = ".weight";

bool IsFactor(absl::string_view tensor) {
  return absl::EndsWith(tensor, ".lora_A.weight") || absl::EndsWith(tensor, ".lora_B.weight");
}

bool MayHaveAdapter(const ParamLayout::Tensor& tensor) {
  return tensor.kind == TensorKind::kTrainable && tensor.shape.size() >= 2 && tensor.size > 0 &&
         absl::EndsWith(tensor.name, kWeight) && !IsFactor(tensor.name);
}

LoraModule ModuleOf(const ParamLayout::Tensor& tensor, bool transposed) {
  LoraModule module{.name = std::string(absl::StripSuffix(tensor.name, kWeight)),
                    .weight = tensor.name,
                    .rows = tensor.shape[0],
                    .columns = tensor.size / tensor.shape[0],
                    .transposed = transposed && tensor.shape.size() == 2};
  if (module.transposed) std::swap(module.rows, module.columns);
  return module;
}

absl::Status NoTarget(const LoraSpec& spec, const ParamLayout& model) {
  std::vector<std::string> names;
  for (const ParamLayout::Tensor& tensor : model.tensors()) {
    if (MayHaveAdapter(tensor)) names.emplace_back(absl::StripSuffix(tensor.name, kWeight));
  }
  constexpr size_t kShown = 20;
  const size_t all = names.size();
  names.resize(std::min(all, kShown));
  return absl::InvalidArgumentError(absl::StrCat(
      "lora.targets [", absl::StrJoin(spec.targets, ", "), "] match no module of the model; ",
      all == 0 ? "it has none with a weight of two dimensions"
               : absl::StrCat("it has ", absl::StrJoin(names, ", "), all > kShown ? ", …" : "")));
}

void AddFactors(const LoraModule& module, int64_t rank, AdapterFactors factors,
                std::vector<ParamLayout::Tensor>& tensors) {
  if (factors != AdapterFactors::kB) {
    tensors.push_back({FactorName(module.name, 'A'), {rank, module.columns}});
  }
  if (factors != AdapterFactors::kA) {
    tensors.push_back({FactorName(module.name, 'B'), {module.rows, rank}});
  }
}

}  // namespace

std::string FactorName(absl::string_view module, char factor) {
  return absl::StrCat(module, ".lora_", std::string(1, factor), kWeight);
}

void CopyShared(const ParamVector& from, ParamVector& to) {
  for (const ParamLayout::Tensor& tensor : to.layout()->tensors()) {
    const absl::Span<const float> values = from.View(tensor.name);
    if (static_cast<int64_t>(values.size()) != tensor.size) continue;
    std::ranges::copy(values, to.View(tensor.name).begin());
  }
}

absl::StatusOr<std::shared_ptr<const LoraPlan>> LoraPlan::Create(const LoraSpec& spec,
                                                                 const LoraRule& rule,
                                                                 const ParamLayout& model,
                                                                 bool transposed_weights) {
  auto plan = std::shared_ptr<LoraPlan>(new LoraPlan());
  plan->spec_ = spec;
  plan->rule_ = rule;
  std::vector<ParamLayout::Tensor> tensors;
  for (const ParamLayout::Tensor& tensor : model.tensors()) {
    if (!IsFactor(tensor.name)) tensors.push_back(tensor);
    if (!MayHaveAdapter(tensor)) continue;
    LoraModule module = ModuleOf(tensor, spec.fan_in_fan_out.value_or(transposed_weights));
    if (MatchesAny(spec.targets, module.name)) plan->modules_.push_back(std::move(module));
  }
  if (plan->modules_.empty()) return NoTarget(spec, model);
  TRIB_ASSIGN_OR_RETURN(plan->ordinary_, ParamLayout::Create(tensors));
  if (rule.keeps_adapter) {
    for (const LoraModule& module : plan->modules_) {
      AddFactors(module, spec.max_rank(), AdapterFactors::kBoth, tensors);
    }
  }
  TRIB_ASSIGN_OR_RETURN(plan->model_, ParamLayout::Create(std::move(tensors)));
  const bool has_adapter = std::ranges::any_of(
      model.tensors(), [](const ParamLayout::Tensor& tensor) { return IsFactor(tensor.name); });
  if (has_adapter && model.digest() != plan->model_->digest()) {
    return absl::InvalidArgumentError(
        "the model holds adapters of other modules or ranks than this job's; allowed: a model "
        "without adapters (export one merged), or with those of this job");
  }
  return plan;
}

absl::StatusOr<std::shared_ptr<const LoraPlan>> LoraPlan::Create(const LoraTerms& terms,
                                                                 const ParamLayout& model) {
  TRIB_ASSIGN_OR_RETURN(const LoraRule rule, FindLoraRule(terms.rule));
  return Create(terms.spec, rule, model, terms.transposed_weights);
}

const LoraModule& LoraPlan::module(absl::string_view name) const {
  const auto found =
      std::ranges::find_if(modules_, [&](const LoraModule& m) { return m.name == name; });
  TRIB_CHECK(found != modules_.end());
  return *found;
}

LayoutPtr LoraPlan::AdapterLayout(int64_t rank, AdapterFactors factors) const {
  TRIB_CHECK(rank >= 1);
  std::vector<ParamLayout::Tensor> tensors;
  for (const LoraModule& module : modules_) AddFactors(module, rank, factors, tensors);
  return *ParamLayout::Create(std::move(tensors));
}

ParamVector LoraPlan::FirstModel(ParamVector ordinary, uint64_t seed) const {
  if (ordinary.layout()->digest() == model_->digest()) return ordinary;
  ParamVector first(model_);
  CopyShared(ordinary, first);
  PutFactors({}, Rng(seed).Split("adapter"), first);
  return first;
}

LowRankModel LoraPlan::KeptAdapter(const ParamVector& model) const {
  const bool holds = model.layout()->Find(FactorName(modules_.front().name, 'A')) != nullptr;
  return rule_.keeps_adapter && holds ? FactorsOf(model, spec_.max_rank()) : LowRankModel();
}

ParamVector LoraPlan::StartAdapter(const LowRankModel& kept, int64_t rank,
                                   uint64_t order_seed) const {
  ParamVector start(AdapterLayout(rank));
  Begin(kept, spec_.Scale(rank), Rng(order_seed).Split("adapter"), start);
  return start;
}

ParamVector LoraPlan::Sent(const ParamVector& trained, const ParamVector& start, int64_t rank,
                           Version base) const {
  ParamVector sent(AdapterLayout(rank, rule_.SendsFrom(base)));
  CopyShared(trained, sent);
  ParamVector from(sent.layout());
  CopyShared(start, from);
  AddScaled(-1.0F, from.trainable(), sent.trainable());
  return sent;
}

ParamVector LoraPlan::Merged(const ParamVector& model) const {
  ParamVector merged(ordinary_);
  CopyShared(model, merged);
  for (const auto& [name, factors] : KeptAdapter(model)) {
    const LoraModule& at = module(name);
    AddProduct(factors, merged.View(at.weight), at.transposed);
  }
  return merged;
}

ParamVector LoraPlan::Merged(const ParamVector& model, const ParamVector& adapter,
                             int64_t rank) const {
  ParamVector merged(ordinary_);
  CopyShared(model, merged);
  for (auto& [name, factors] : FactorsOf(adapter, rank)) {
    const LoraModule& at = module(name);
    Multiply(spec_.Scale(rank), absl::MakeSpan(factors.b));
    AddProduct(factors, merged.View(at.weight), at.transposed);
  }
  return merged;
}

LowRankModel LoraPlan::FactorsOf(const ParamVector& from, int64_t rank) const {
  LowRankModel factors;
  for (const LoraModule& module : modules_) {
    const auto a = from.View(FactorName(module.name, 'A'));
    const auto b = from.View(FactorName(module.name, 'B'));
    factors[module.name] = {.rows = module.rows,
                            .columns = module.columns,
                            .rank = rank,
                            .b = {b.begin(), b.end()},
                            .a = {a.begin(), a.end()}};
  }
  return factors;
}

void LoraPlan::PutFactors(const LowRankModel& factors, Rng fresh, ParamVector& to) const {
  Begin(factors, /*scale=*/1, std::move(fresh), to);
}

void LoraPlan::Begin(const LowRankModel& from, double scale, Rng fresh, ParamVector& to) const {
  for (const LoraModule& module : modules_) {
    const absl::Span<float> a = to.View(FactorName(module.name, 'A'));
    const absl::Span<float> b = to.View(FactorName(module.name, 'B'));
    const int64_t rank = static_cast<int64_t>(a.size()) / module.columns;
    Rng rng = fresh.Split(module.name);
    const auto given = from.find(module.name);
    const LowRank pair = given == from.end() ? FreshAdapter(module.rows, module.columns, rank, rng)
                                             : InitPair(given->second, rank, scale, rng);
    std::ranges::copy(pair.a, a.begin());
    std::ranges::copy(pair.b, b.begin());
  }
}

void LoraPlan::AddToWeights(const ModelDelta& delta, ParamVector& model) const {
  for (const auto& [name, part] : delta) {
    const LoraModule& at = module(name);
    AddDelta(part, model.View(at.weight), at.transposed);
  }
}

}  // namespace tributary
