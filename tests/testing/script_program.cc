#include "tests/testing/script_program.h"

#include <map>
#include <sstream>
#include <utility>

#include "client_sdk/torch/torch_include.h"
#include "common/train_spec/train_spec.h"
// LibTorch's own; after torch_include.h.
#include <torch/csrc/jit/api/module.h>

namespace tributary::test {
namespace {

using torch::jit::Module;
using Kind = ScriptTensor::Kind;

at::Tensor Make(const ScriptTensor& tensor, int64_t place, const at::Tensor& before) {
  switch (tensor.kind) {
    case Kind::kBuffer:
      return at::ones(tensor.shape);
    case Kind::kCounter:
      return at::zeros(tensor.shape, at::kLong);
    case Kind::kTied:
      return before;
    case Kind::kPart:
      return before.narrow(0, 0, 1);
    default:
      break;
  }
  at::Tensor values = at::empty(tensor.shape);
  Rng rng = Rng(1).Split(static_cast<uint64_t>(place));
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.data_ptr<float>()[i] = static_cast<float>(rng.Uniform() - 0.5);
  }
  return tensor.kind == Kind::kHalf ? values.to(at::kHalf) : values;
}

Module MakeModule(const std::vector<ScriptTensor>& tensors, const std::string& code) {
  const auto unit = std::make_shared<torch::jit::CompilationUnit>();
  Module module("__torch__.Program", unit);
  std::map<std::string, Module> parts;
  at::Tensor before;
  for (size_t i = 0; i < tensors.size(); ++i) {
    before = Make(tensors[i], static_cast<int64_t>(i), before);
    const size_t dot = tensors[i].name.find('.');
    const std::string part = dot == std::string::npos ? "" : tensors[i].name.substr(0, dot);
    const std::string name = part.empty() ? tensors[i].name : tensors[i].name.substr(dot + 1);
    if (!part.empty() && !parts.contains(part)) {
      parts.emplace(part, Module("__torch__.Part_" + part, unit));
    }
    const bool buffer = tensors[i].kind == Kind::kBuffer || tensors[i].kind == Kind::kCounter;
    (part.empty() ? module : parts.at(part)).register_parameter(name, before, buffer);
  }
  for (auto& [name, part] : parts) module.register_module(name, part);
  module.register_attribute("training", c10::BoolType::get(), true);
  module.define(code);
  return module;
}

std::string Saved(const Module& module) {
  std::ostringstream out;
  module.save(out);
  return std::move(out).str();
}

}  // namespace

std::string MakeProgram(const std::vector<ScriptTensor>& tensors, const std::string& code) {
  return Saved(MakeModule(tensors, code));
}

std::string MakeFrozenProgram(const std::vector<ScriptTensor>& tensors, const std::string& code) {
  Module module = MakeModule(tensors, code);
  module.eval();
  return Saved(torch::jit::freeze(module));
}

std::string MlpProgram(int64_t in, int64_t hidden, int64_t out) {
  return MakeProgram({{"fc1.weight", {hidden, in}},
                      {"fc1.bias", {hidden}},
                      {"fc2.weight", {out, hidden}},
                      {"fc2.bias", {out}}},
                     R"(
def forward(self, x):
    x = torch.relu(torch.linear(torch.flatten(x, 1), self.fc1.weight, self.fc1.bias))
    return torch.linear(x, self.fc2.weight, self.fc2.bias)

def layer_inputs(self, x) -> Dict[str, Tensor]:
    x = torch.flatten(x, 1)
    hidden = torch.relu(torch.linear(x, self.fc1.weight, self.fc1.bias))
    return {"fc1.weight": x, "fc2.weight": hidden}
)");
}

void SetProgram(const std::string& program, JobInfo& job) {
  const ModelSpec model{.program = ProgramSpecOf(program)};
  job.model_json = config::Print(model).dump();
  job.program = std::make_shared<const std::string>(program);
}

}  // namespace tributary::test
