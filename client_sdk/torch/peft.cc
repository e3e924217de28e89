#include "client_sdk/torch/peft.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client_sdk/torch/layout_fit.h"
#include "client_sdk/torch/model_folder.h"
#include "client_sdk/torch/torch_calls.h"
#include "common/check.h"
#include "common/status_macros.h"
#include "nlohmann/json.hpp"

namespace tributary {
namespace {

constexpr absl::string_view kFactorA = ".lora_A.weight";
constexpr absl::string_view kFactorB = ".lora_B.weight";

using Plan = std::shared_ptr<const LoraPlan>;

bool IsFactor(absl::string_view tensor) {
  return absl::EndsWith(tensor, kFactorA) || absl::EndsWith(tensor, kFactorB);
}

// Of the modules beside which there are factors of this layout; null: there are none.
absl::StatusOr<Plan> PlanOfHeld(const ParamLayout& layout, bool transposed) {
  LoraSpec spec;
  spec.targets.clear();
  std::vector<ParamLayout::Tensor> ordinary;
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    if (!IsFactor(tensor.name)) ordinary.push_back(tensor);
    if (!absl::EndsWith(tensor.name, kFactorA)) continue;
    spec.targets.emplace_back(absl::StripSuffix(tensor.name, kFactorA));
    if (!spec.rank && !tensor.shape.empty()) spec.rank = std::max<int64_t>(1, tensor.shape[0]);
  }
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr without, ParamLayout::Create(std::move(ordinary)));
  if (!spec.rank) {
    TRIB_RETURN_IF_ERROR(CheckFits(*without, layout));
    return nullptr;
  }
  LoraRule holding;
  holding.keeps_adapter = true;
  return LoraPlan::Create(spec, holding, *without, transposed);
}

std::vector<int64_t> WeightShape(const ParamLayout& layout, const LoraModule& module) {
  return layout.Find(module.weight)->shape;
}

// PEFT has adapters of another form for them.
bool IsEmbedding(absl::string_view module) {
  const std::vector<absl::string_view> path = absl::StrSplit(module, '.');
  return path.back() == "wte" || path.back() == "wpe" || path.back() == "embed_tokens";
}

at::Tensor InDouble(const ParamVector& from, const LoraModule& module) {
  const int64_t rows = module.transposed ? module.columns : module.rows;
  auto* data = const_cast<float*>(from.View(module.weight).data());  // a tensor has no const form
  const at::Tensor weight =
      at::from_blob(data, {rows, module.rows * module.columns / rows}).to(at::kDouble);
  return module.transposed ? weight.t() : weight;
}

std::vector<float> Floats(const at::Tensor& values) {
  const at::Tensor row_major = values.to(at::kFloat).contiguous();
  const float* const data = row_major.data_ptr<float>();
  return {data, data + row_major.numel()};
}

struct Factored {
  LowRank factors;
  double kept = 0;  // Σ σ² of those kept
};

Factored BestFactors(const at::Tensor& difference, const LoraModule& module, int64_t rank) {
  const auto [u, sigma, vt] = at::linalg_svd(difference, /*full_matrices=*/false);
  const at::Tensor kept = sigma.narrow(0, 0, rank);
  const at::Tensor root = kept.sqrt();
  return {{.rows = module.rows,
           .columns = module.columns,
           .rank = rank,
           .b = Floats(u.narrow(1, 0, rank) * root),
           .a = Floats(root.unsqueeze(1) * vt.narrow(0, 0, rank))},
          kept.square().sum().item<double>()};
}

absl::Status CheckRank(const LoraModule& module, int64_t rank) {
  const int64_t most = std::min(module.rows, module.columns);
  if (rank >= 1 && rank <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("rank is ", rank, "; allowed: 1 to ", most,
                                                 ", the smaller side of the weight of '",
                                                 module.name, "'"));
}

// ‖x − y‖² of a tensor.
double Energy(const ParamVector& model, const ParamVector& base, const std::string& name) {
  const absl::Span<const float> x = model.View(name), y = base.View(name);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double difference = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += difference * difference;
  }
  return sum;
}

absl::StatusOr<FactoredDifference> Factor(const ParamVector& model, const ParamVector& base,
                                          const LoraPlan& plan) {
  const int64_t rank = plan.spec().max_rank();
  FactoredDifference result;
  double all = 0, kept = 0;
  for (const ParamLayout::Tensor& tensor : model.layout()->tensors()) {
    const double energy = Energy(model, base, tensor.name);
    if (energy == 0) continue;
    if (tensor.kind == TensorKind::kTrainable) all += energy;
    const auto module = std::ranges::find(plan.modules(), tensor.name, &LoraModule::weight);
    if (module == plan.modules().end() || IsEmbedding(module->name)) {
      result.left_out.push_back(tensor.name);
      continue;
    }
    TRIB_RETURN_IF_ERROR(CheckRank(*module, rank));
    Factored best = BestFactors(InDouble(model, *module) - InDouble(base, *module), *module, rank);
    kept += best.kept;
    result.kept.push_back(std::min(1.0, best.kept / energy));
    result.adapters.push_back({*module, tensor.shape, std::move(best.factors)});
  }
  if (result.adapters.empty()) {
    return absl::InvalidArgumentError(
        result.left_out.empty()
            ? "the model is the base, to the bit; allowed: models that differ"
            : absl::StrCat(
                  "no module that an adapter is for differs from the base; what differs: '",
                  result.left_out.front(), "'"));
  }
  result.kept_of_all = std::min(1.0, kept / all);
  return result;
}

// [first, the weight's inner dimensions…], for a convolution's A; its B has them all 1.
std::vector<int64_t> ShapeOfA(const ModuleAdapter& adapter) {
  std::vector<int64_t> shape = {adapter.factors.rank, adapter.module.columns};
  if (adapter.weight_shape.size() <= 2) return shape;
  shape = adapter.weight_shape;
  shape[0] = adapter.factors.rank;
  return shape;
}
std::vector<int64_t> ShapeOfB(const ModuleAdapter& adapter) {
  std::vector<int64_t> shape(std::max<size_t>(2, adapter.weight_shape.size()), 1);
  shape[0] = adapter.module.rows;
  shape[1] = adapter.factors.rank;
  return shape;
}

absl::StatusOr<ParamVector> PeftTensors(absl::Span<const ModuleAdapter> adapters,
                                        const std::string& prefix) {
  const auto name = [&](const ModuleAdapter& adapter, char factor) {
    return absl::StrCat("base_model.model.", prefix, FactorName(adapter.module.name, factor));
  };
  std::vector<ParamLayout::Tensor> tensors;
  for (const ModuleAdapter& adapter : adapters) {
    tensors.push_back({name(adapter, 'A'), ShapeOfA(adapter)});
    tensors.push_back({name(adapter, 'B'), ShapeOfB(adapter)});
  }
  TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, ParamLayout::Create(std::move(tensors)));
  ParamVector values(layout);
  for (const ModuleAdapter& adapter : adapters) {
    std::ranges::copy(adapter.factors.a, values.View(name(adapter, 'A')).begin());
    std::ranges::copy(adapter.factors.b, values.View(name(adapter, 'B')).begin());
  }
  return values;
}

std::string PeftConfig(absl::Span<const ModuleAdapter> adapters, const PeftTerms& terms) {
  std::vector<std::string> modules;
  for (const ModuleAdapter& adapter : adapters) {
    modules.push_back(absl::StrCat(terms.prefix, adapter.module.name));
  }
  const int64_t rank = adapters.front().factors.rank;
  nlohmann::ordered_json config = {{"peft_type", "LORA"},
                                   {"task_type", nullptr},
                                   {"base_model_name_or_path", terms.base_name},
                                   {"r", rank},
                                   {"lora_alpha", rank},
                                   {"lora_dropout", 0.0},
                                   {"target_modules", modules},
                                   {"fan_in_fan_out", terms.fan_in_fan_out},
                                   {"bias", "none"},
                                   {"inference_mode", true}};
  if (terms.language_model) config["task_type"] = "CAUSAL_LM";
  return config.dump(2) + "\n";
}

}  // namespace

absl::StatusOr<HeldAdapters> AdaptersOf(const ParamVector& model, bool transposed) {
  TRIB_ASSIGN_OR_RETURN(const Plan plan, PlanOfHeld(*model.layout(), transposed));
  if (plan == nullptr) return HeldAdapters{model.Clone(), {}};
  TRIB_RETURN_IF_ERROR(CheckFits(*plan->model(), *model.layout()));
  HeldAdapters held{plan->Merged(model), {}};
  LowRankModel factors = plan->KeptAdapter(model);
  for (const LoraModule& module : plan->modules()) {
    held.adapters.push_back(
        {module, WeightShape(*model.layout(), module), std::move(factors[module.name])});
  }
  return held;
}

absl::StatusOr<FactoredDifference> FactorDifference(const ParamVector& model,
                                                    const ParamVector& base,
                                                    const FactorOptions& options) {
  TRIB_RETURN_IF_ERROR(WithContext(CheckFits(*model.layout(), *base.layout()), "the base"));
  LoraSpec spec;
  spec.rank = options.rank;
  spec.targets = options.targets.empty() ? std::vector<std::string>{"*"} : options.targets;
  LoraRule merging;
  merging.keeps_adapter = false;
  TRIB_ASSIGN_OR_RETURN(const Plan plan,
                        LoraPlan::Create(spec, merging, *model.layout(), options.transposed));
  return Guarded([&] { return Factor(model, base, *plan); });
}

absl::Status WritePeftFolder(absl::Span<const ModuleAdapter> adapters, const PeftTerms& terms,
                             const std::string& folder) {
  TRIB_CHECK(!adapters.empty());
  TRIB_ASSIGN_OR_RETURN(const ParamVector values, PeftTensors(adapters, terms.prefix));
  return WriteModelFolder({.tensors_name = "adapter_model.safetensors",
                           .config_name = "adapter_config.json",
                           .config = PeftConfig(adapters, terms)},
                          values, folder);
}

}  // namespace tributary
