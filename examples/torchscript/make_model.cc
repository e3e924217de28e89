// Makes a TorchScript file without Python: a small convolutional network for images of 1 x 28 x 28
// in ten classes, with batch norm and dropout; or, with --layer-inputs, without these, and with the
// method that shows what its layers are given, for jobs that go from task to task.
//
//   build/release/bin/make-script-model examples/torchscript/model.pt
//   build/release/bin/make-script-model --layer-inputs examples/torchscript/plain.pt
//
// The same from Python: torch.jit.script(module).save("model.pt").
#include <cmath>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

// First: without it clang 14 as C++20 rejects the other.
#include <ATen/core/ivalue.h>
// Then the rest.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/jit/api/module.h>

namespace {

using torch::jit::Module;
using Unit = std::shared_ptr<torch::jit::CompilationUnit>;

// PyTorch's own beginning of a layer; the same with each call.
at::Tensor Uniform(at::IntArrayRef shape, int64_t fan_in) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  return at::empty(shape).uniform_(-bound, bound, at::detail::createCPUGenerator(/*seed=*/1));
}

void AddParameter(Module& module, const std::string& name, at::Tensor value) {
  module.register_parameter(name, std::move(value), /*is_buffer=*/false);
}

Module Linear(const Unit& unit, const std::string& name, int64_t in, int64_t out) {
  Module module("__torch__." + name, unit);
  AddParameter(module, "weight", Uniform({out, in}, in));
  AddParameter(module, "bias", Uniform({out}, in));
  module.define(R"(
def forward(self, x):
    return torch.linear(x, self.weight, self.bias)
)");
  return module;
}

Module Conv(const Unit& unit, const std::string& name, int64_t in, int64_t out) {
  Module module("__torch__." + name, unit);
  AddParameter(module, "weight", Uniform({out, in, 5, 5}, in * 25));
  module.define(R"(
def forward(self, x):
    return torch.conv2d(x, self.weight, None, [2, 2], [2, 2])
)");
  return module;
}

Module BatchNorm(const Unit& unit, const std::string& name, int64_t channels) {
  Module module("__torch__." + name, unit);
  AddParameter(module, "weight", at::ones({channels}));
  AddParameter(module, "bias", at::zeros({channels}));
  module.register_buffer("running_mean", at::zeros({channels}));
  module.register_buffer("running_var", at::ones({channels}));
  module.register_attribute("training", c10::BoolType::get(), true);
  module.define(R"(
def forward(self, x):
    return torch.batch_norm(x, self.weight, self.bias, self.running_mean, self.running_var,
                            self.training, 0.1, 0.00001, False)
)");
  return module;
}

Module Network() {
  const auto unit = std::make_shared<torch::jit::CompilationUnit>();
  Module network("__torch__.Network", unit);
  network.register_module("conv1", Conv(unit, "Conv1", 1, 16));
  network.register_module("bn1", BatchNorm(unit, "Bn1", 16));
  network.register_module("conv2", Conv(unit, "Conv2", 16, 32));
  network.register_module("bn2", BatchNorm(unit, "Bn2", 32));
  network.register_module("fc1", Linear(unit, "Fc1", 32 * 7 * 7, 64));
  network.register_module("fc2", Linear(unit, "Fc2", 64, 10));
  network.register_attribute("training", c10::BoolType::get(), true);
  network.define(R"(
def forward(self, images):
    x = torch.relu(self.bn1.forward(self.conv1.forward(images)))
    x = torch.relu(self.bn2.forward(self.conv2.forward(x)))
    x = torch.relu(self.fc1.forward(torch.flatten(x, 1)))
    return self.fc2.forward(torch.dropout(x, 0.2, self.training))
)");
  return network;
}

// Rows of a convolution's inputs are its patches, in the order of its weights.
Module PlainNetwork() {
  const auto unit = std::make_shared<torch::jit::CompilationUnit>();
  Module network("__torch__.PlainNetwork", unit);
  network.register_module("conv1", Conv(unit, "Conv1", 1, 16));
  network.register_module("conv2", Conv(unit, "Conv2", 16, 32));
  network.register_module("fc1", Linear(unit, "Fc1", 32 * 7 * 7, 64));
  network.register_module("fc2", Linear(unit, "Fc2", 64, 10));
  network.define(R"(
def patches(self, x):
    return torch.im2col(x, [5, 5], [1, 1], [2, 2], [2, 2]).transpose(1, 2)

def features(self, images):
    x = torch.relu(self.conv1.forward(images))
    return torch.flatten(torch.relu(self.conv2.forward(x)), 1)

def forward(self, images):
    return self.fc2.forward(torch.relu(self.fc1.forward(self.features(images))))

def layer_inputs(self, images) -> Dict[str, Tensor]:
    x = torch.relu(self.conv1.forward(images))
    flat = self.features(images)
    return {"conv1.weight": self.patches(images), "conv2.weight": self.patches(x),
            "fc1.weight": flat, "fc2.weight": torch.relu(self.fc1.forward(flat))}
)");
  return network;
}

}  // namespace

int main(int argc, char** argv) {
  const bool plain = argc == 3 && std::string(argv[1]) == "--layer-inputs";
  if (argc != 2 && !plain) {
    std::cerr << "usage: make-script-model [--layer-inputs] FILE.pt\n";
    return 2;
  }
  const char* const file = argv[argc - 1];
  try {
    (plain ? PlainNetwork() : Network()).save(file);
  } catch (const std::exception& error) {
    std::cerr << file << ": " << error.what() << "\n";
    return 1;
  }
  return 0;
}
