// TorchScript files made in a test, without Python and without LibTorch's headers.
//
//   const std::string program = MakeProgram({{"fc1.weight", {3, 2}}, {"fc1.bias", {3}}},
//                                           "def forward(self, x):\n"
//                                           "  return torch.linear(x, self.fc1.weight,
//                                           self.fc1.bias)\n");
#ifndef TRIBUTARY_TESTS_TESTING_SCRIPT_PROGRAM_H_
#define TRIBUTARY_TESTS_TESTING_SCRIPT_PROGRAM_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "client_sdk/trainer.h"

namespace tributary::test {

struct ScriptTensor {
  enum class Kind {
    kParameter,  // float32, uniform in ±1/2 from the tensor's place in the list
    kHalf,       // the same as float16
    kBuffer,     // float32, ones
    kCounter,    // int64, zeros
    kTied,       // the tensor before it once more, under another name
    kPart,       // a view of its first row
  };
  std::string name;  // "fc1.weight" is `weight` of the submodule `fc1`
  std::vector<int64_t> shape;
  Kind kind = Kind::kParameter;
};

// The bytes of a saved module with these tensors and the attribute `training`, True.
std::string MakeProgram(const std::vector<ScriptTensor>& tensors, const std::string& code);
// The same, frozen first.
std::string MakeFrozenProgram(const std::vector<ScriptTensor>& tensors, const std::string& code);

// linear (`fc1`, of in -> hidden), relu, linear (`fc2`, to out), on flattened inputs: laid out as
// the built-in mlp. With a layer_inputs.
std::string MlpProgram(int64_t in, int64_t hidden, int64_t out);

// A job's program and the model section that goes with it.
void SetProgram(const std::string& program, JobInfo& job);

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_TESTING_SCRIPT_PROGRAM_H_
