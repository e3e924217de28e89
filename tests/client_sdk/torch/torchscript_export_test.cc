#include "client_sdk/torch/torchscript_export.h"

#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "client_sdk/torch/models.h"
#include "client_sdk/torch/script_model.h"
#include "client_sdk/torch/torch_include.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/script_program.h"
#include "tests/testing/status_matchers.h"
// LibTorch's own; after torch_include.h.
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

namespace tributary {
namespace {

using test::MakeProgram;
using test::ScriptTensor;
using test::StatusIs;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using Code = absl::StatusCode;
using Kind = ScriptTensor::Kind;

at::Tensor Random(std::vector<int64_t> shape, uint64_t seed) {
  at::Tensor values = at::empty(shape);
  Rng rng(seed);
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.data_ptr<float>()[i] = static_cast<float>(rng.Normal());
  }
  return values;
}

torch::jit::Module Load(const std::string& bytes) {
  std::istringstream stream(bytes);
  return torch::jit::load(stream);
}

at::Tensor Logits(const std::string& bytes, const at::Tensor& inputs) {
  const at::NoGradGuard no_gradients;
  return Load(bytes).forward({inputs}).toTensor();
}

at::Tensor Logits(TorchModel& model, const ParamVector& values, const at::Tensor& inputs) {
  const at::NoGradGuard no_gradients;
  model.Begin(Mode::kEvaluate, Rng(1));
  return model.Forward(ParamViews(*values.layout(), values.values().data(), false), inputs);
}

// ---- programs --------------------------------------------------------------------------

constexpr char kNormed[] = R"(
def forward(self, x):
    x = torch.linear(x, self.fc.weight)
    x = torch.batch_norm(x, self.bn.weight, self.bn.bias, self.bn.mean, self.bn.var, self.training, 0.1, 1e-5, False)
    return torch.linear(torch.dropout(x, 0.5, self.training), self.head.weight)
)";
const std::vector<ScriptTensor>& NormedTensors() {
  static const auto* const tensors = new std::vector<ScriptTensor>{
      {"fc.weight", {5, 6}},
      {"bn.weight", {5}},
      {"bn.bias", {5}},
      {"bn.mean", {5}, Kind::kBuffer},
      {"bn.var", {5}, Kind::kBuffer},
      {"bn.num_batches_tracked", {}, Kind::kCounter},
      {"head.weight", {3, 5}},
  };
  return *tensors;
}

DataShape Features(int64_t count) { return {{count}, 3, /*tokens=*/false}; }

std::unique_ptr<TorchModel> ModelOf(const std::string& program, const DataShape& shape) {
  auto model = MakeScriptModel(std::make_shared<const std::string>(program), shape);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

// As training leaves them: none of the program's own. A batch norm's variance is positive.
ParamVector Trained(const TorchModel& model) {
  ParamVector values = test::RandomParams(*LayoutOf(model), 7, 0.5F);
  for (float& value : values.buffers()) value = std::abs(value) + 0.1F;
  return values;
}

TEST(ProgramWithValuesTest, GivesTheLogitsOfTheTrainedModel) {
  const std::string program = MakeProgram(NormedTensors(), kNormed);
  const std::unique_ptr<TorchModel> model = ModelOf(program, Features(6));
  const ParamVector values = Trained(*model);
  ASSERT_EQ(values.layout()->buffer_size(), 10) << "mean and variance";
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string saved, ProgramWithValues(program, values));
  const at::Tensor inputs = Random({4, 6}, 1);
  const at::Tensor expected = Logits(*model, values, inputs);
  EXPECT_TRUE(at::equal(Logits(saved, inputs), expected));
  EXPECT_FALSE(at::allclose(Logits(program, inputs), expected)) << "values of its own";
  EXPECT_FALSE(Load(saved).is_training());
  EXPECT_TRUE(Load(program).is_training());
}

TEST(ProgramWithValuesTest, IsTheFirstModelOfANextJob) {
  const std::string program = MakeProgram(NormedTensors(), kNormed);
  const ParamVector values = Trained(*ModelOf(program, Features(6)));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string saved, ProgramWithValues(program, values));
  const std::unique_ptr<TorchModel> next = ModelOf(saved, Features(6));
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector first, next->InitialParams(*LayoutOf(*next), 1));
  EXPECT_EQ(first.layout()->digest(), values.layout()->digest());
  EXPECT_EQ(first.ComputeDigest(), values.ComputeDigest());
}

TEST(ProgramWithValuesTest, ATensorOfTwoNamesIsOne) {
  const std::string program =
      MakeProgram({{"first", {4, 4}}, {"second", {4, 4}, Kind::kTied}, {"head", {3, 4}}}, R"(
def forward(self, x):
    return torch.linear(torch.linear(torch.linear(x, self.first), self.second), self.head)
)");
  const std::unique_ptr<TorchModel> model = ModelOf(program, Features(4));
  const ParamVector values = Trained(*model);
  ASSERT_EQ(values.layout()->tensors().size(), 2u);
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string saved, ProgramWithValues(program, values));
  const at::Tensor inputs = Random({4, 4}, 1);
  EXPECT_TRUE(at::equal(Logits(saved, inputs), Logits(*model, values, inputs)));
}

TEST(ProgramWithValuesTest, NamesWhatDoesNotFit) {
  const std::string program = MakeProgram({{"weight", {3, 2}}, {"bias", {3}}}, R"(
def forward(self, x):
    return torch.linear(x, self.weight, self.bias)
)");
  const auto fill = [&](std::vector<ParamLayout::Tensor> tensors) {
    return ProgramWithValues(program, ParamVector(test::MakeLayout(std::move(tensors))));
  };
  EXPECT_THAT(fill({{"weight", {3, 2}}, {"bias", {4}}}),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("'bias' of the model has the shape (4); the program's is (3)")));
  EXPECT_THAT(fill({{"weight", {3, 2}}, {"bias", {3}}, {"more", {1}}}),
              StatusIs(Code::kInvalidArgument, HasSubstr("'more' of the model is none of the")));
  EXPECT_THAT(fill({{"weight", {3, 2}}}),
              StatusIs(Code::kInvalidArgument, HasSubstr("'bias' is missing in the model")));
  EXPECT_THAT(ProgramWithValues("no program", ParamVector(test::TinyLayout())),
              StatusIs(Code::kInvalidArgument, HasSubstr("the program cannot be used")));
}

// ---- built-in models -------------------------------------------------------------------

BuiltinModel Spec(const std::string& name) {
  BuiltinModel spec;
  spec.name = name;
  return spec;
}

TEST(TracedModelTest, GivesTheModelsLogitsForBatchesOfAnySize) {
  const DataShape shape{{2, 13, 12}, 7, /*tokens=*/false};
  for (const char* name : {"logistic", "mlp", "cnn", "resnet"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(Spec(name), shape));
    const ParamVector values = test::RandomParams(*LayoutOf(*model), 5, 0.2F);
    TRIB_ASSERT_OK_AND_ASSIGN(const std::string saved,
                              TracedModel(Spec(name), shape.example_shape, values));
    for (const int64_t n : {1, 2, 9}) {
      const at::Tensor inputs = Random({n, 2, 13, 12}, 3);
      EXPECT_TRUE(at::equal(Logits(saved, inputs), Logits(*model, values, inputs))) << name << n;
    }
    std::vector<std::string> expected, names;
    for (const auto& tensor : values.layout()->tensors()) expected.push_back(tensor.name);
    const torch::jit::Module loaded = Load(saved);
    for (const auto& parameter : loaded.named_parameters()) names.push_back(parameter.name);
    EXPECT_THAT(names, ::testing::UnorderedElementsAreArray(expected)) << name;
  }
}

TEST(TracedModelTest, IsAProgramThatAJobCanTrain) {
  const DataShape shape{{1, 8, 8}, 4, /*tokens=*/false};
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, MakeModel(Spec("cnn"), shape));
  const ParamVector values = test::RandomParams(*LayoutOf(*model), 5, 0.2F);
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string saved,
                            TracedModel(Spec("cnn"), shape.example_shape, values));
  const std::unique_ptr<TorchModel> program = ModelOf(saved, shape);
  std::set<std::string> expected, names;
  for (const ModelParam& param : model->params()) expected.insert(param.name);
  for (const ModelParam& param : program->params()) names.insert(param.name);
  EXPECT_THAT(names, ElementsAreArray(expected));
}

TEST(TracedModelTest, RefusesWithTheReason) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model,
                            MakeModel(Spec("cnn"), {{1, 8, 8}, 4, /*tokens=*/false}));
  const ParamVector values(*LayoutOf(*model));
  EXPECT_THAT(TracedModel(Spec("gpt"), {8}, values),
              StatusIs(Code::kUnimplemented, HasSubstr("texts of one length")));
  EXPECT_THAT(TracedModel(Spec("cnn"), {1, 28, 28}, values),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("tensor 'fc1.weight' has the shape (128, 128); allowed: (128,")));
  EXPECT_THAT(TracedModel(Spec("cnn"), {64}, values),
              StatusIs(Code::kInvalidArgument, HasSubstr("needs images")));
  EXPECT_THAT(TracedModel(Spec("mlp"), {64}, values),
              StatusIs(Code::kInvalidArgument, HasSubstr("tensor 'fc1.weight' has the shape")));
}

}  // namespace
}  // namespace tributary
