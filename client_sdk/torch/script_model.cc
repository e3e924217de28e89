#include "client_sdk/torch/script_model.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client_sdk/torch/torch_calls.h"
#include "common/mutex.h"
#include "common/status_macros.h"
// LibTorch's own; after torch_include.h.
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

namespace tributary {
namespace {

using Module = torch::jit::Module;
using Object = c10::intrusive_ptr<c10::ivalue::Object>;

constexpr size_t kLeftInModule = static_cast<size_t>(-1);
constexpr char kLayerInputs[] = "layer_inputs";

// Where a module holds one of its tensors.
struct Slot {
  Object owner;
  size_t index = 0;
  std::string name;  // "layer1.0.weight"
  bool is_parameter = false;

  at::Tensor tensor() const { return owner->getSlot(index).toTensor(); }
  void Set(at::Tensor tensor) const { owner->setSlot(index, std::move(tensor)); }
};

void CollectSlots(const Object& owner, const std::string& prefix,
                  std::set<c10::ivalue::Object*>& seen, std::vector<Slot>& slots) {
  if (!seen.insert(owner.get()).second) return;
  const auto type = owner->type();
  for (size_t i = 0; i < type->numAttributes(); ++i) {
    const c10::IValue value = owner->getSlot(i);
    const std::string name = absl::StrCat(prefix, type->getAttributeName(i));
    if (value.isModule()) {
      CollectSlots(value.toObject(), absl::StrCat(name, "."), seen, slots);
    } else if (value.isTensor() && (type->is_parameter(i) || type->is_buffer(i))) {
      slots.push_back({owner, i, name, type->is_parameter(i)});
    }
  }
}

// Parameters and buffers, in an order that the module's type decides.
std::vector<Slot> SlotsOf(const Module& module) {
  std::set<c10::ivalue::Object*> seen;
  std::vector<Slot> slots;
  CollectSlots(module._ivalue(), "", seen, slots);
  return slots;
}

Module Load(const std::string& program) {
  std::istringstream stream(program);
  return torch::jit::load(stream, at::kCPU);
}

bool IsFixed(const torch::jit::Node& node, const char* argument) {
  return node.hasNamedInput(argument) &&
         node.get<bool>(c10::Symbol::attr(argument)).value_or(true) == false;
}

struct Findings {
  bool draws = false;         // some operator that does
  std::string fixed_to_eval;  // an operator; empty: none
};

void Look(const torch::jit::Block& block, Findings& findings) {
  for (const torch::jit::Node* node : block.nodes()) {
    const std::string kind = node->kind().toUnqualString();
    const bool dropout = absl::StrContains(kind, "dropout");
    if (node->isNondeterministic() || dropout) findings.draws = true;
    if ((dropout && IsFixed(*node, "train")) ||
        (kind == "batch_norm" && IsFixed(*node, "training"))) {
      findings.fixed_to_eval = kind;
    }
    for (const torch::jit::Block* inner : node->blocks()) Look(*inner, findings);
  }
}

Findings LookAtForward(const Module& module) {
  const auto graph = module.get_method("forward").graph()->copy();
  torch::jit::Inline(*graph);
  Findings findings;
  Look(*graph->block(), findings);
  return findings;
}

// Of several lines, the last says what went wrong.
absl::Status Refused(absl::string_view what, const absl::Status& why) {
  std::string last = "no reason given";
  for (const absl::string_view line : absl::StrSplit(why.message(), '\n', absl::SkipWhitespace())) {
    last = std::string(line);
  }
  return absl::InvalidArgumentError(absl::StrCat("the program ", what, ": ", last));
}

Mutex& GeneratorMutex() {
  static Mutex* const mutex = new Mutex;
  return *mutex;
}

// Runs `work` with the generator, which nothing else here draws from, seeded and its own; whether
// it drew.
template <typename Work>
bool RunSeeded(uint64_t seed, Work work) {
  const MutexLock lock(GeneratorMutex());
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  generator.set_current_seed(seed);
  const at::Tensor before = generator.get_state();
  work();
  return !generator.get_state().equal(before);
}

// Values of a weight [out, in, …] for one output; 0: it is no weight of a layer.
int64_t InputSize(const std::vector<int64_t>& shape) {
  if (shape.size() < 2) return 0;
  return std::accumulate(shape.begin() + 1, shape.end(), int64_t{1}, std::multiplies<>());
}

class ScriptModel final : public TorchModel {
 public:
  explicit ScriptModel(std::shared_ptr<const std::string> program) : program_(std::move(program)) {}

  absl::Status Read();
  absl::Status Try(const DataShape& shape);

  absl::StatusOr<ParamVector> InitialParams(LayoutPtr layout, uint64_t seed) const override;
  bool TakesSubmodels() const override { return false; }
  bool CallsHook() const override { return false; }
  absl::Status CanShowInputs() const override;
  void Begin(Mode mode, const Rng& rng) override;
  at::Tensor Forward(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                     LayerHook* hook) const override;
  void ShowInputs(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                  LayerHook& hook) const override;

 private:
  // What forward passes change, from Begin on.
  struct Task {
    Module module;
    std::vector<Slot> slots;
    Rng rng;
    bool drew = false;  // in the last pass; not known of a program that does not
  };

  // The parameter or buffer that the slot holds, which is added if it is new; `taken`: all so far.
  absl::StatusOr<size_t> Take(const Slot& slot, TensorKind kind, std::vector<at::Tensor>& taken);
  absl::Status TryIn(Mode mode, const DataShape& shape, const std::vector<at::Tensor>& params);
  // What a method of the program gives with these values in its slots.
  c10::IValue Run(const char* method, absl::Span<const at::Tensor> params,
                  const at::Tensor& inputs) const;
  c10::IValue RunOnce(const char* method, const at::Tensor& inputs) const;
  // [rows, inputs] by weight, checked.
  std::map<std::string, at::Tensor> LayerInputs(absl::Span<const at::Tensor> params,
                                                const at::Tensor& inputs) const;

  const std::shared_ptr<const std::string> program_;
  Module pristine_;                    // as it was read, without the values that the layout has
  std::vector<size_t> param_of_slot_;  // index into params(), or kLeftInModule
  bool draws_ = false;
  std::unique_ptr<Task> task_;
};

absl::StatusOr<size_t> ScriptModel::Take(const Slot& slot, TensorKind kind,
                                         std::vector<at::Tensor>& taken) {
  const at::Tensor tensor = slot.tensor();
  if (tensor.scalar_type() != at::kFloat || tensor.layout() != at::kStrided) {
    return absl::InvalidArgumentError(absl::StrCat("its parameter '", slot.name, "' is ",
                                                   tensor.toString(), "; allowed: dense float32"));
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    if (!tensor.is_alias_of(taken[i])) continue;
    const bool same = tensor.data_ptr() == taken[i].data_ptr() &&
                      tensor.sizes() == taken[i].sizes() && tensor.strides() == taken[i].strides();
    if (same && params()[i].kind == kind) return i;
    return absl::InvalidArgumentError(absl::StrCat("its '", slot.name, "' shares memory with '",
                                                   params()[i].name,
                                                   "'; allowed: the same tensor, or another one"));
  }
  taken.push_back(tensor);
  AddParam({.name = slot.name, .shape = tensor.sizes().vec(), .kind = kind});
  return taken.size() - 1;
}

absl::Status ScriptModel::Read() {
  pristine_ = Load(*program_);
  if (!pristine_.find_method("forward")) return absl::InvalidArgumentError("it has no forward");
  const std::vector<Slot> slots = SlotsOf(pristine_);
  param_of_slot_.assign(slots.size(), kLeftInModule);
  std::vector<at::Tensor> taken;
  for (const TensorKind kind : {TensorKind::kTrainable, TensorKind::kBuffer}) {
    for (size_t i = 0; i < slots.size(); ++i) {
      const bool buffer = !slots[i].is_parameter;
      if (buffer != (kind == TensorKind::kBuffer)) continue;
      if (buffer && slots[i].tensor().scalar_type() != at::kFloat) continue;
      TRIB_ASSIGN_OR_RETURN(param_of_slot_[i], Take(slots[i], kind, taken));
    }
    if (taken.empty()) {
      return absl::InvalidArgumentError(
          "it has no parameters; torch.jit.freeze makes constants of them; allowed: an unfrozen "
          "one");
    }
  }
  for (size_t i = 0; i < slots.size(); ++i) {
    if (param_of_slot_[i] != kLeftInModule) slots[i].Set(at::empty({0}));
  }
  const Findings findings = LookAtForward(pristine_);
  draws_ = findings.draws;
  if (findings.fixed_to_eval.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "its ", findings.fixed_to_eval,
      " stands in evaluation mode for good, as in a module that was traced so; allowed: "
      "a scripted one"));
}

absl::StatusOr<ParamVector> ScriptModel::InitialParams(LayoutPtr layout, uint64_t /*seed*/) const {
  const at::NoGradGuard no_gradients;
  const std::vector<Slot> slots = SlotsOf(Load(*program_));
  ParamVector values(std::move(layout));
  const std::vector<at::Tensor> views =
      ParamViews(*values.layout(), values.values().data(), /*with_gradients=*/true);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (param_of_slot_[i] != kLeftInModule) views[param_of_slot_[i]].copy_(slots[i].tensor());
  }
  return values;
}

void ScriptModel::Begin(Mode mode, const Rng& rng) {
  const at::NoGradGuard no_gradients;
  Module module = pristine_.deepcopy();
  module.train(mode == Mode::kTrain);
  task_ = std::make_unique<Task>(Task{module, SlotsOf(module), rng.Split("program"), false});
}

at::Tensor ScriptModel::Forward(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                                LayerHook* /*hook*/) const {
  const c10::IValue result = Run("forward", params, inputs);
  TORCH_CHECK(result.isTensor(), "forward gives a ", result.tagKind(), "; allowed: a Tensor");
  const at::Tensor logits = result.toTensor();
  return logits.dim() == 3 ? logits.flatten(0, 1) : logits;
}

absl::Status ScriptModel::CanShowInputs() const {
  if (pristine_.find_method(kLayerInputs)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "the program does not show what its layers are given, which continual.orthogonal learns "
      "from; allowed: one with a method layer_inputs(inputs) -> Dict[str, Tensor]");
}

void ScriptModel::ShowInputs(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                             LayerHook& hook) const {
  for (const auto& [weight, rows] : LayerInputs(params, inputs)) {
    hook.Linear(weight, rows, at::Tensor());
  }
}

std::map<std::string, at::Tensor> ScriptModel::LayerInputs(absl::Span<const at::Tensor> params,
                                                           const at::Tensor& inputs) const {
  constexpr const char* kAllowed =
      "; allowed: float32 rows by names of weights, as long as a weight has values for an output";
  std::map<std::string, at::Tensor> rows_of;
  const c10::IValue result = Run(kLayerInputs, params, inputs);
  TORCH_CHECK(result.isGenericDict(), "layer_inputs gives a ", result.tagKind(), kAllowed);
  for (const auto& entry : result.toGenericDict()) {
    TORCH_CHECK(entry.key().isString() && entry.value().isTensor(), "layer_inputs gives a ",
                entry.value().tagKind(), " by ", entry.key().tagKind(), kAllowed);
    const std::string weight = entry.key().toStringRef();
    const at::Tensor rows = entry.value().toTensor();
    const bool fits = rows.scalar_type() == at::kFloat && rows.dim() > 1 &&
                      std::ranges::any_of(this->params(), [&](const ModelParam& param) {
                        return param.name == weight && InputSize(param.shape) == rows.size(-1);
                      });
    TORCH_CHECK(fits, "layer_inputs gives ", rows.toString(), " ", rows.sizes(), " by '", weight,
                "'", kAllowed);
    rows_of.emplace(weight, rows.flatten(0, -2));
  }
  return rows_of;
}

c10::IValue ScriptModel::Run(const char* method, absl::Span<const at::Tensor> params,
                             const at::Tensor& inputs) const {
  // Only while it runs: the module holds no views of values that may be gone, and no graph.
  const auto set = [&](const auto& tensor_of) {
    for (size_t i = 0; i < param_of_slot_.size(); ++i) {
      if (param_of_slot_[i] != kLeftInModule) task_->slots[i].Set(tensor_of(param_of_slot_[i]));
    }
  };
  set([&](size_t param) { return params[param]; });
  c10::IValue result = RunOnce(method, inputs);
  set([none = at::Tensor()](size_t) { return none; });
  return result;
}

c10::IValue ScriptModel::RunOnce(const char* method, const at::Tensor& inputs) const {
  const torch::jit::GraphOptimizerEnabledGuard as_it_stands(false);
  c10::IValue result;
  const auto run = [&] { result = task_->module.get_method(method)({inputs}); };
  if (draws_) {
    task_->drew = RunSeeded(task_->rng.Next(), run);
  } else {
    run();
  }
  return result;
}

absl::Status ScriptModel::TryIn(Mode mode, const DataShape& shape,
                                const std::vector<at::Tensor>& params) {
  constexpr int64_t kExamples = 2;  // a batch norm does not train on one
  std::vector<int64_t> sizes = shape.example_shape;
  sizes.insert(sizes.begin(), kExamples);
  const at::Tensor inputs = at::zeros(sizes, shape.tokens ? at::kLong : at::kFloat);
  Begin(mode, Rng(0));
  if (mode == Mode::kEvaluate && CanShowInputs().ok()) LayerInputs(params, inputs);
  const at::Tensor logits = Forward(params, inputs, nullptr);
  const int64_t rows = kExamples * shape.predictions();
  if (logits.scalar_type() == at::kFloat && logits.dim() == 2 && logits.size(0) == rows &&
      logits.size(1) >= shape.num_classes) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("forward gives ", logits.toString(), " [", absl::StrJoin(logits.sizes(), ", "),
                   "] of inputs [", absl::StrJoin(sizes, ", "), "]; allowed: float32 [", rows,
                   ", at least ", shape.num_classes, "]"));
}

absl::Status ScriptModel::Try(const DataShape& shape) {
  const at::NoGradGuard no_gradients;
  TRIB_ASSIGN_OR_RETURN(LayoutPtr layout, LayoutOf(*this));
  TRIB_ASSIGN_OR_RETURN(ParamVector values, InitialParams(layout, /*seed=*/0));
  const std::vector<at::Tensor> views = ParamViews(*layout, values.values().data(), true);
  const bool names_draws = std::exchange(draws_, true);
  for (const Mode mode : {Mode::kEvaluate, Mode::kTrain}) {
    TRIB_RETURN_IF_ERROR(TryIn(mode, shape, views));
  }
  draws_ = names_draws || task_->drew;
  for (size_t i = 0; i < views.size(); ++i) {
    if (params()[i].kind == TensorKind::kBuffer || views[i]._version() == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "forward changes the parameter '", params()[i].name, "'; allowed: to change buffers"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<TorchModel>> MakeScriptModel(
    std::shared_ptr<const std::string> program, const DataShape& shape) {
  auto model = std::make_unique<ScriptModel>(std::move(program));
  const absl::Status read = Guarded([&] { return model->Read(); });
  if (!read.ok()) return Refused("cannot be used", read);
  const absl::Status tried = Guarded([&] { return model->Try(shape); });
  if (!tried.ok()) return Refused("does not fit the data", tried);
  return model;
}

}  // namespace tributary
