#include "client_sdk/torch/torchscript_export.h"

#include <algorithm>
#include <map>
#include <memory>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client_sdk/torch/layout_fit.h"
#include "client_sdk/torch/models.h"
#include "client_sdk/torch/torch_calls.h"
#include "client_sdk/torch/torch_trainer.h"
#include "common/status_macros.h"
// LibTorch's own; after torch_include.h.
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/serialization/import.h>

namespace tributary {
namespace {

using torch::jit::Module;

std::string Saved(Module module) {
  module.eval();
  std::ostringstream out;
  module.save(out);
  return std::move(out).str();
}

// Parameters and float32 buffers, by their names.
std::map<std::string, at::Tensor> TensorsOf(const Module& module) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& parameter : module.named_parameters()) {
    tensors.emplace(parameter.name, parameter.value);
  }
  for (const auto& buffer : module.named_buffers()) {
    if (buffer.value.scalar_type() == at::kFloat) tensors.emplace(buffer.name, buffer.value);
  }
  return tensors;
}

bool IsAlias(const at::Tensor& tensor, const std::vector<at::Tensor>& others) {
  return std::ranges::any_of(others, [&](const at::Tensor& o) { return tensor.is_alias_of(o); });
}

absl::StatusOr<std::string> Fill(const std::string& program, const ParamVector& values) {
  const at::NoGradGuard no_gradients;
  std::istringstream stream(program);
  Module module = torch::jit::load(stream, at::kCPU);
  const std::map<std::string, at::Tensor> slots = TensorsOf(module);
  const std::vector<at::Tensor> views =
      ParamViews(*values.layout(), values.values().data(), /*with_gradients=*/false);
  std::vector<at::Tensor> filled;
  for (size_t i = 0; i < views.size(); ++i) {
    const std::string& name = values.layout()->tensors()[i].name;
    const auto slot = slots.find(name);
    if (slot == slots.end() || slot->second.sizes() != views[i].sizes()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", name, "' of the model ",
                       slot == slots.end()
                           ? "is none of the program's"
                           : absl::StrCat("has the shape (", absl::StrJoin(views[i].sizes(), ", "),
                                          "); the program's is (",
                                          absl::StrJoin(slot->second.sizes(), ", "), ")")));
    }
    slot->second.copy_(views[i]);
    filled.push_back(slot->second);
  }
  for (const auto& [name, tensor] : slots) {
    if (IsAlias(tensor, filled)) continue;  // also one that has two names
    return absl::InvalidArgumentError(
        absl::StrCat("the program's tensor '", name, "' is missing in the model"));
  }
  return Saved(module);
}

// A tree of modules whose parameters have the layout's names; each a copy of its values.
class NamedParameters {
 public:
  explicit NamedParameters(const ParamVector& values)
      : root_("__torch__.Model", std::make_shared<torch::jit::CompilationUnit>()) {
    const std::vector<at::Tensor> views =
        ParamViews(*values.layout(), values.values().data(), /*with_gradients=*/false);
    for (size_t i = 0; i < views.size(); ++i) {
      const std::string& name = values.layout()->tensors()[i].name;
      std::vector<std::string> path = absl::StrSplit(name, '.');
      const std::string last = std::move(path.back());
      path.pop_back();
      tensors_.push_back(views[i].clone());
      At(absl::MakeConstSpan(path)).register_parameter(last, tensors_.back(), /*is_buffer=*/false);
    }
  }

  Module& root() { return root_; }
  const std::vector<at::Tensor>& tensors() const { return tensors_; }  // in the layout's order

 private:
  Module At(absl::Span<const std::string> path) {
    if (path.empty()) return root_;
    const std::string name = absl::StrJoin(path, ".");
    const auto found = parts_.find(name);
    if (found != parts_.end()) return found->second;
    Module parent = At(path.first(path.size() - 1));
    const std::string type =
        absl::StrCat("__torch__.Part_", absl::StrReplaceAll(name, {{".", "_"}}));
    const Module part(type, root_._ivalue()->compilation_unit());
    parent.register_module(path.back(), part);
    parts_.emplace(name, part);
    return part;
  }

  Module root_;
  std::map<std::string, Module> parts_;  // by their paths
  std::vector<at::Tensor> tensors_;
};

absl::StatusOr<std::string> Trace(const TorchModel& model, std::vector<int64_t> sizes,
                                  const ParamVector& values) {
  const at::NoGradGuard no_gradients;
  NamedParameters parameters(values);
  Module& module = parameters.root();
  sizes.insert(sizes.begin(), 2);
  const auto forward = [&](const torch::jit::Stack& inputs) -> torch::jit::Stack {
    return {model.Forward(parameters.tensors(), inputs[0].toTensor())};
  };
  const auto nameless = [](const at::Tensor&) { return std::string(); };
  const auto traced =
      torch::jit::tracer::trace({at::zeros(sizes)}, forward, nameless, /*strict=*/true,
                                /*force_outplace=*/false, &module, {"inputs"});
  torch::jit::Function* const method = module._ivalue()->compilation_unit()->create_function(
      c10::QualifiedName(*module.type()->name(), "forward"), traced.first->graph);
  module.type()->addMethod(method);
  return Saved(module);
}

}  // namespace

absl::StatusOr<std::string> ProgramWithValues(const std::string& program,
                                              const ParamVector& values) {
  const absl::StatusOr<std::string> filled = Guarded([&] { return Fill(program, values); });
  if (!absl::IsInternal(filled.status())) return filled;
  return absl::InvalidArgumentError(
      absl::StrCat("the program cannot be used: ", filled.status().message()));
}

absl::StatusOr<std::string> TracedModel(const BuiltinModel& spec,
                                        const std::vector<int64_t>& example_shape,
                                        const ParamVector& values) {
  if (spec.is_language_model()) {
    return absl::UnimplementedError(absl::StrCat("the trace of a ", spec.name,
                                                 " holds for texts of one length alone; "
                                                 "allowed: a folder for Hugging Face's tools"));
  }
  // Of all of them the last tensor is the bias of the last layer.
  const DataShape shape{example_shape, values.layout()->tensors().back().size, /*tokens=*/false};
  return Guarded([&]() -> absl::StatusOr<std::string> {
    TRIB_ASSIGN_OR_RETURN(const std::unique_ptr<TorchModel> model, MakeModel(spec, shape));
    TRIB_ASSIGN_OR_RETURN(const LayoutPtr layout, LayoutOf(*model));
    TRIB_RETURN_IF_ERROR(CheckFits(*layout, *values.layout()));
    ParamVector ordered(layout);
    for (const ParamLayout::Tensor& tensor : layout->tensors()) {
      std::ranges::copy(values.View(tensor.name), ordered.View(tensor.name).begin());
    }
    return Trace(*model, example_shape, ordered);
  });
}

}  // namespace tributary
