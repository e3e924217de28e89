#include "client_sdk/torch/script_model.h"

#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/torch_include.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/script_program.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::MakeProgram;
using test::MlpProgram;
using test::ParamsNear;
using test::ScriptTensor;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Kind = ScriptTensor::Kind;

constexpr char kLinear[] = R"(
def forward(self, x):
    return torch.linear(x, self.weight, self.bias)
)";
const std::vector<ScriptTensor>& LinearTensors() {
  static const auto* const tensors =
      new std::vector<ScriptTensor>{{"weight", {3, 2}}, {"bias", {3}}};
  return *tensors;
}

// Of 3 classes, features between -1 and 1.
DataView Examples(std::vector<int64_t> shape, int64_t count) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = std::move(shape);
  data->num_classes = 3;
  Rng rng(5);
  for (int64_t i = 0; i < count; ++i) {
    data->labels.push_back(rng.UniformInt(3));
    for (int64_t j = 0; j < data->example_size(); ++j) {
      data->features.push_back(static_cast<float>(rng.Uniform(-1, 1)));
    }
  }
  return DataView::All(std::move(data));
}

JobInfo Job(const std::string& program, const std::string& more = "") {
  JobInfo job;
  test::SetProgram(program, job);
  job.train_json = absl::StrCat(R"({"optimizer": {"sgd": {"learning_rate": 0.1, "momentum": 0.5}})",
                                R"(, "batch_size": 4)", more, "}");
  return job;
}

TrainTask Task(const JobInfo& job, int64_t steps, uint64_t seed = 1) {
  return {.job = job, .local_steps = steps, .rng = Rng(seed)};
}

ParamVector FirstModel(const JobInfo& job, const DataView& view) {
  absl::StatusOr<ParamVector> model =
      TorchWorker().InitialModel(job, DataShape::Of(*view.dataset), 1);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

at::Tensor Random(std::vector<int64_t> shape, uint64_t seed) {
  at::Tensor values = at::empty(shape);
  Rng rng(seed);
  for (int64_t i = 0; i < values.numel(); ++i) {
    values.data_ptr<float>()[i] = static_cast<float>(rng.Normal());
  }
  return values;
}

absl::Status WhyRefused(const std::string& program, const DataView& view) {
  return TorchWorker().InitialModel(Job(program), DataShape::Of(*view.dataset), 1).status();
}

// ---- what it is ------------------------------------------------------------------------

TEST(ScriptModelTest, TrainsAndEvaluatesAsTheBuiltInModelOfTheSameLayout) {
  const DataView view = Examples({2, 3}, 30);
  for (const char* more : {"", R"(, "proximal": 0.3)"}) {
    const JobInfo program = Job(MlpProgram(6, 5, 3), more);
    JobInfo builtin = program;
    builtin.model_json = R"({"builtin": {"name": "mlp", "hidden": [5]}})";
    const ParamVector first = FirstModel(program, view);
    ASSERT_EQ(first.layout()->digest(), FirstModel(builtin, view).layout()->digest());

    ParamVector mine = first.Clone(), theirs = first.Clone();
    TorchWorker worker;
    TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult trained,
                              worker.Train(Task(program, 25), view, mine));
    TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult expected,
                              worker.Train(Task(builtin, 25), view, theirs));
    EXPECT_THAT(mine, ParamsNear(theirs, 1e-6));
    EXPECT_NEAR(trained.loss, expected.loss, 1e-6);
    EXPECT_EQ(trained.flops, 0) << "not known";
    TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult mine_is,
                              worker.Evaluate({.job = program}, view, mine));
    TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult theirs_is,
                              worker.Evaluate({.job = builtin}, view, theirs));
    EXPECT_NEAR(mine_is.loss, theirs_is.loss, 1e-6);
    EXPECT_EQ(mine_is.accuracy, theirs_is.accuracy);
  }
}

TEST(ScriptModelTest, TheFirstModelIsWhatTheProgramHolds) {
  const DataView view = Examples({2}, 4);
  const JobInfo job = Job(MakeProgram(LinearTensors(), kLinear));
  TorchWorker worker;
  const DataShape shape = DataShape::Of(*view.dataset);
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector one, worker.InitialModel(job, shape, 1));
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector two, worker.InitialModel(job, shape, 2));
  EXPECT_THAT(one, ParamsNear(two, 0)) << "whatever the seed";
  Rng rng = Rng(1).Split(uint64_t{0});  // as MakeProgram draws
  for (const float value : one.View("weight")) {
    EXPECT_EQ(value, static_cast<float>(rng.Uniform() - 0.5));
  }
}

TEST(ScriptModelTest, AParameterWithoutAPartInTheLossStaysAsItIs) {
  const DataView view = Examples({2}, 8);
  std::vector<ScriptTensor> tensors = LinearTensors();
  tensors.insert(tensors.begin(), {"unused", {7}});
  const JobInfo job = Job(MakeProgram(tensors, kLinear));
  const ParamVector first = FirstModel(job, view);
  ParamVector model = first.Clone();
  ASSERT_THAT(TorchWorker().Train(Task(job, 3), view, model), test::IsOk());
  EXPECT_THAT(model.View("unused"), ParamsNear(first.View("unused"), 0));
  EXPECT_NE(model.View("weight")[0], first.View("weight")[0]);
}

TEST(ScriptModelTest, AStructuredMaskIsTrainedDense) {
  const DataView view = Examples({6}, 20);
  const JobInfo job = Job(MlpProgram(6, 4, 3));
  ParamVector model = FirstModel(job, view);
  std::vector<bool> keep(model.trainable().size(), true);
  const auto drop = [&](const char* name, int64_t from, int64_t step, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      keep[static_cast<size_t>(model.layout()->Find(name)->offset + from + i * step)] = false;
    }
  };
  drop("fc1.weight", 6, 1, 6);  // hidden unit 1: its row, its bias, its column
  drop("fc1.bias", 1, 1, 1);
  drop("fc2.weight", 1, 4, 3);
  TrainTask task = Task(job, 10);
  task.mask = std::make_shared<const Mask>(keep);
  ClearPruned(*task.mask, 0, model.trainable());
  JobInfo builtin = job;
  builtin.model_json = R"({"builtin": {"name": "mlp", "hidden": [4]}})";
  ParamVector theirs = model.Clone();
  TorchWorker worker;
  ASSERT_THAT(worker.Train(task, view, model), test::IsOk());
  task.job = builtin;
  ASSERT_THAT(worker.Train(task, view, theirs), test::IsOk());
  EXPECT_THAT(model, ParamsNear(theirs, 1e-6));
}

// ---- buffers and state -----------------------------------------------------------------

// Normalises with running statistics, whose momentum falls as one over the batches of the task.
constexpr char kCounting[] = R"(
def forward(self, x):
    momentum = 0.0
    if self.training:
        self.bn.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.bn.num_batches_tracked.item())
    x = torch.conv2d(x, self.conv.weight, self.conv.bias)
    x = torch.batch_norm(x, self.bn.weight, self.bn.bias, self.bn.running_mean, self.bn.running_var,
                         self.training, momentum, 0.00001, False)
    return torch.linear(torch.flatten(torch.relu(x), 1), self.fc.weight, self.fc.bias)
)";
std::string ConvProgram() {
  return MakeProgram({{"bn.weight", {2}},
                      {"bn.bias", {2}},
                      {"bn.running_mean", {2}, Kind::kBuffer},
                      {"bn.running_var", {2}, Kind::kBuffer},
                      {"bn.num_batches_tracked", {}, Kind::kCounter},
                      {"conv.weight", {2, 1, 3, 3}},
                      {"conv.bias", {2}},
                      {"fc.weight", {3, 8}},
                      {"fc.bias", {3}}},
                     kCounting);
}

TEST(ScriptModelTest, FloatBuffersAreTheLayoutsAndIntegersStayInTheModule) {
  const DataView view = Examples({1, 4, 4}, 8);
  const ParamVector model = FirstModel(Job(ConvProgram()), view);
  std::vector<std::string> trainable, buffers;
  for (const ParamLayout::Tensor& tensor : model.layout()->tensors()) {
    (tensor.kind == TensorKind::kTrainable ? trainable : buffers).push_back(tensor.name);
  }
  EXPECT_THAT(trainable, ElementsAre("bn.weight", "bn.bias", "conv.weight", "conv.bias",
                                     "fc.weight", "fc.bias"));
  EXPECT_THAT(buffers, ElementsAre("bn.running_mean", "bn.running_var"));
  EXPECT_THAT(model.buffers(), ParamsNear({1, 1, 1, 1}, 0));
}

TEST(ScriptModelTest, TrainingMovesTheStatisticsAndEvaluationUsesThem) {
  // One step over all examples with a rate that moves nothing: with momentum 1 the running mean is
  // the mean of the convolution's outputs.
  const DataView view = Examples({1, 4, 4}, 4);
  JobInfo job = Job(ConvProgram());
  job.train_json = R"({"optimizer": {"sgd": {"learning_rate": 1e-30}}, "batch_size": 4})";
  const ParamVector first = FirstModel(job, view);
  ParamVector model = first.Clone();
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult trained, worker.Train(Task(job, 1), view, model));
  EXPECT_THAT(model.trainable(), ParamsNear(first.trainable(), 0));

  const at::Tensor x =
      at::from_blob(const_cast<float*>(view.dataset->features.data()), {4, 1, 4, 4});
  const auto tensor = [&](const char* name, std::vector<int64_t> shape) {
    return at::from_blob(model.View(name).data(), shape);
  };
  const at::Tensor y = at::conv2d(x, tensor("conv.weight", {2, 1, 3, 3}), tensor("conv.bias", {2}));
  EXPECT_TRUE(at::allclose(tensor("bn.running_mean", {2}), y.mean({0, 2, 3})));
  EXPECT_TRUE(at::allclose(tensor("bn.running_var", {2}), y.var({0, 2, 3}, /*unbiased=*/true)));

  // Biased in the batch, unbiased in what runs: the losses are close and not equal.
  const ParamVector before = model.Clone();
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult now, worker.Evaluate({.job = job}, view, model));
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult untrained, worker.Evaluate({.job = job}, view, first));
  EXPECT_NEAR(now.loss, trained.loss, 0.05);
  EXPECT_GT(std::abs(untrained.loss - trained.loss), 0.05) << "the statistics matter here";
  EXPECT_THAT(model, ParamsNear(before, 0)) << "evaluation moves nothing";
}

TEST(ScriptModelTest, WhatTheModuleCountsBeginsAnewWithEachTask) {
  const DataView view = Examples({1, 4, 4}, 12);
  const JobInfo job = Job(ConvProgram());
  const ParamVector first = FirstModel(job, view);
  TorchWorker used;
  for (int run = 0; run < 3; ++run) {
    ParamVector model = first.Clone(), fresh = first.Clone();
    ASSERT_THAT(used.Train(Task(job, 5), view, model), test::IsOk());
    ASSERT_THAT(TorchWorker().Train(Task(job, 5), view, fresh), test::IsOk());
    EXPECT_THAT(model, ParamsNear(fresh, 0)) << run;
  }
}

TEST(ScriptModelTest, ATensorOfTwoNamesIsOne) {
  const DataView view = Examples({3}, 12);
  const std::string code = R"(
def forward(self, x):
    return torch.linear(torch.linear(x, self.a.weight), self.b.weight)
)";
  const JobInfo job =
      Job(MakeProgram({{"a.weight", {3, 3}}, {"b.weight", {3, 3}, Kind::kTied}}, code));
  ParamVector model = FirstModel(job, view);
  ASSERT_EQ(model.layout()->tensors().size(), 1u);
  EXPECT_EQ(model.layout()->tensors()[0].name, "a.weight");
  const double before = TorchWorker().Evaluate({.job = job}, view, model)->loss;
  ASSERT_THAT(TorchWorker().Train(Task(job, 30), view, model), test::IsOk());
  EXPECT_LT(TorchWorker().Evaluate({.job = job}, view, model)->loss, before);
}

// ---- adapters --------------------------------------------------------------------------

// L(W + s·B·A): dL/dB = s·G·Aᵀ and dL/dA = s·Bᵀ·G, with G = dL/dW there.
TEST(ScriptModelTest, GradientsReachWhatAWeightIsMadeOf) {
  const DataView view = Examples({6}, 8);
  const auto program = std::make_shared<const std::string>(MlpProgram(6, 5, 3));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model,
                            MakeScriptModel(program, DataShape::Of(*view.dataset)));
  const at::Tensor inputs = Random({8, 6}, 1);
  const at::Tensor targets = at::arange(8, at::kLong).remainder(3);
  std::vector<at::Tensor> params;
  for (const ModelParam& param : model->params())
    params.push_back(Random(param.shape, params.size()));
  const at::Tensor a = Random({2, 6}, 7).requires_grad_(), b = Random({5, 2}, 8).requires_grad_();
  constexpr double kScale = 0.7;
  const at::Tensor weight = params[0];
  const auto loss = [&](const at::Tensor& first) {
    params[0] = first;
    return at::cross_entropy_loss(model->Forward(params, inputs), targets);
  };
  const at::Tensor leaf = (weight + kScale * b.mm(a)).detach().requires_grad_();
  loss(leaf).backward();
  const at::Tensor g = leaf.grad();

  for (const Mode mode : {Mode::kTrain, Mode::kEvaluate}) {
    model->Begin(mode, Rng(1));
    a.mutable_grad().reset(), b.mutable_grad().reset();
    for (int step = 1; step <= 2; ++step) {  // the graph of one step is not that of the next
      loss(weight + kScale * b.mm(a)).backward();
      EXPECT_TRUE(at::allclose(b.grad(), step * kScale * g.mm(a.detach().t()), 1e-4, 1e-6));
      EXPECT_TRUE(at::allclose(a.grad(), step * kScale * b.detach().t().mm(g), 1e-4, 1e-6));
    }
  }
}

// ---- randomness ------------------------------------------------------------------------

constexpr char kDropping[] = R"(
def forward(self, x):
    x = torch.dropout(torch.relu(torch.linear(x, self.fc1.weight)), 0.5, self.training)
    return torch.linear(x, self.fc2.weight)
)";

TEST(ScriptModelTest, DropoutDrawsFromTheTaskWhateverTheThreads) {
  const DataView view = Examples({6}, 40);
  const JobInfo job =
      Job(MakeProgram({{"fc1.weight", {16, 6}}, {"fc2.weight", {3, 16}}}, kDropping));
  const ParamVector first = FirstModel(job, view);
  const auto train = [&](uint64_t seed) {
    ParamVector model = first.Clone();
    EXPECT_THAT(TorchWorker().Train(Task(job, 20, seed), view, model), test::IsOk());
    return model.ComputeDigest();
  };
  std::vector<Digest> alone, together(4);
  for (uint64_t seed = 0; seed < 4; ++seed) alone.push_back(train(seed));
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&, seed] { together[seed] = train(seed); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(together, alone);
  EXPECT_NE(alone[0], alone[1]);
}

TEST(ScriptModelTest, DropoutIsForTrainingAlone) {
  // With a rate that moves nothing and all examples in the batch, the two losses are of the same
  // values: they differ by what was dropped.
  const DataView view = Examples({6}, 4);
  JobInfo job = Job(MakeProgram({{"fc1.weight", {16, 6}}, {"fc2.weight", {3, 16}}}, kDropping));
  job.train_json = R"({"optimizer": {"sgd": {"learning_rate": 1e-30}}, "batch_size": 4})";
  ParamVector model = FirstModel(job, view);
  TorchWorker worker;
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult once, worker.Evaluate({.job = job}, view, model));
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult trained, worker.Train(Task(job, 1), view, model));
  TRIB_ASSERT_OK_AND_ASSIGN(const EvalResult again, worker.Evaluate({.job = job}, view, model));
  EXPECT_EQ(once.loss, again.loss);
  EXPECT_GT(std::abs(trained.loss - once.loss), 1e-4);
}

// ---- text ------------------------------------------------------------------------------

TEST(ScriptModelTest, ReadsTextAndGivesLogitsOfEitherForm) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = {4};
  data->num_classes = 7;
  Rng rng(3);
  for (int i = 0; i < 5 * 12; ++i) data->tokens.push_back(static_cast<int32_t>(rng.UniformInt(7)));
  const DataView view = DataView::All(std::move(data));
  const std::vector<ScriptTensor> tensors = {{"embedding", {7, 5}}, {"head", {7, 5}}};
  const auto trained = [&](const char* code) {
    const JobInfo job = Job(MakeProgram(tensors, code));
    ParamVector model = FirstModel(job, view);
    EXPECT_THAT(TorchWorker().Train(Task(job, 20), view, model), test::IsOk());
    EXPECT_EQ(TorchWorker().Evaluate({.job = job}, view, model)->metrics.count("perplexity"), 1u);
    return model;
  };
  const ParamVector three = trained(R"(
def forward(self, x):
    return torch.linear(torch.embedding(self.embedding, x), self.head)
)");
  const ParamVector two = trained(R"(
def forward(self, x):
    return torch.flatten(torch.linear(torch.embedding(self.embedding, x), self.head), 0, 1)
)");
  EXPECT_THAT(three, ParamsNear(two, 0));
}

// ---- refusals --------------------------------------------------------------------------

struct BadProgram {
  const char* name;
  std::string program;
  const char* why;
};

TEST(ScriptModelTest, RefusesWhatItCannotTrainAndSaysWhy) {
  const auto linear = [](const char* code) { return MakeProgram(LinearTensors(), code); };
  std::vector<ScriptTensor> half = LinearTensors();
  half.push_back({"scale", {1}, Kind::kHalf});
  const std::vector<BadProgram> programs = {
      {"no zip", "this is no program", "not a ZIP archive"},
      {"cut off", MlpProgram(2, 4, 3).substr(0, 900), "cannot be used"},
      {"frozen", test::MakeFrozenProgram(LinearTensors(), kLinear), "torch.jit.freeze"},
      {"half", MakeProgram(half, kLinear),
       "parameter 'scale' is CPUHalfType; allowed: dense float32"},
      {"a part",
       MakeProgram({{"weight", {3, 2}}, {"row", {1, 2}, Kind::kPart}, {"bias", {3}}}, kLinear),
       "its 'row' shares memory with 'weight'"},
      {"inputs", MlpProgram(5, 4, 3), "shapes cannot be multiplied"},
      {"classes", MlpProgram(2, 4, 2), "Float"},
      {"rows", linear("def forward(self, x):\n  return self.weight\n"), "of inputs [2, 2]"},
      {"double", linear("def forward(self, x):\n  return torch.linear(x, self.weight).double()\n"),
       "Double"},
      {"tuple", linear("def forward(self, x):\n  return x, self.bias\n"), "forward gives a Tuple"},
      {"no forward", linear("def other(self, x):\n  return x\n"), "no forward"},
      {"fixed",
       linear("def forward(self, x):\n"
              "  return torch.dropout(torch.linear(x, self.weight), 0.5, False)\n"),
       "dropout stands in evaluation mode for good"},
      {"changes itself",
       linear("def forward(self, x):\n  self.weight.mul_(0.5)\n"
              "  return torch.linear(x, self.weight)\n"),
       "changes the parameter 'weight'"},
  };
  const DataView view = Examples({2}, 4);
  for (const BadProgram& bad : programs) {
    EXPECT_THAT(WhyRefused(bad.program, view),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("the program "), HasSubstr(bad.why))))
        << bad.name;
  }
}

TEST(ScriptModelTest, AProgramThatDidNotComeIsMissed) {
  const DataView view = Examples({2}, 4);
  JobInfo job = Job(MakeProgram(LinearTensors(), kLinear));
  job.program = nullptr;
  EXPECT_THAT(TorchWorker().InitialModel(job, DataShape::Of(*view.dataset), 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did not come")));
}

// ---- layer_inputs ----------------------------------------------------------------------

// The sketch that the request asks for, of the job's first model.
absl::StatusOr<ParamVector> Sketch(const JobInfo& job, const DataView& view,
                                   const ParamVector& model, const std::string& options,
                                   std::vector<ParamLayout::Tensor> tensors) {
  CollectTask task{.job = job};
  task.request = {.kind = CollectKind::kSketch,
                  .options_json = options,
                  .layout = test::MakeLayout(std::move(tensors))};
  ParamVector sketch(task.request.layout);
  TRIB_RETURN_IF_ERROR(TorchWorker().SketchInputs(task, view, model, sketch).status());
  return sketch;
}

TEST(ScriptModelTest, LayerInputsAreSketchedAsThoseOfTheBuiltInModel) {
  const DataView view = Examples({2, 3}, 30);
  const JobInfo program = Job(MlpProgram(6, 5, 3));
  JobInfo builtin = program;
  builtin.model_json = R"({"builtin": {"name": "mlp", "hidden": [5]}})";
  const ParamVector model = FirstModel(program, view);
  const auto sketch = [&](const JobInfo& job) {
    return Sketch(job, view, model,
                  R"({"layers": [{"name": "fc1.weight", "dim": 7, "augmented": true},
                                 {"name": "fc2.weight", "dim": 5}]})",
                  {{"fc1.weight.gram", {28}}, {"fc2.weight.gram", {15}}});
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector mine, sketch(program));
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector theirs, sketch(builtin));
  EXPECT_GT(theirs.View("fc2.weight.gram")[0], 0);
  EXPECT_THAT(mine, ParamsNear(theirs, 1e-5));
}

// A 2 x 2 convolution over 3 x 3 pixels: four patches of four values each.
TEST(ScriptModelTest, OfAConvolutionTheProgramGivesThePatches) {
  const DataView view = Examples({1, 3, 3}, 5);
  const JobInfo job = Job(MakeProgram({{"weight", {3, 1, 2, 2}}}, R"(
def forward(self, x):
    return torch.amax(torch.conv2d(x, self.weight), [2, 3])

def layer_inputs(self, x) -> Dict[str, Tensor]:
    patches = torch.im2col(x, [2, 2], [1, 1], [0, 0], [1, 1])
    return {"weight": patches.transpose(1, 2)}
)"));
  TRIB_ASSERT_OK_AND_ASSIGN(
      const ParamVector sketch,
      Sketch(job, view, FirstModel(job, view), R"({"layers": [{"name": "weight", "dim": 4}]})",
             {{"weight.gram", {10}}}));
  std::vector<float> gram(10);
  for (size_t n = 0; n < 5; ++n) {
    const float* const image = view.dataset->features.data() + 9 * n;
    for (const size_t corner : {0, 1, 3, 4}) {
      const float patch[4] = {image[corner], image[corner + 1], image[corner + 3],
                              image[corner + 4]};
      size_t next = 0;
      for (size_t i = 0; i < 4; ++i) {
        for (size_t j = i; j < 4; ++j) gram[next++] += patch[i] * patch[j];
      }
    }
  }
  EXPECT_THAT(sketch, ParamsNear(gram, 1e-5));
}

TEST(ScriptModelTest, WithoutThemItSaysWhatIsMissing) {
  const DataView view = Examples({2}, 4);
  const JobInfo job = Job(MakeProgram(LinearTensors(), kLinear));
  EXPECT_THAT(Sketch(job, view, FirstModel(job, view),
                     R"({"layers": [{"name": "weight", "dim": 2}]})", {{"weight.gram", {3}}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("allowed: one with a method layer_inputs(inputs)")));
}

TEST(ScriptModelTest, LayerInputsThatAreNoneAreRefusedBeforeTraining) {
  const DataView view = Examples({2}, 4);
  const struct {
    const char* gives;
    const char* type;
    const char* why;
  } bad[] = {
      {"x", "Tensor", "layer_inputs gives a Tensor; allowed: float32 rows"},
      {"{0: x}", "Dict[int, Tensor]", "layer_inputs gives a Tensor by Int"},
      {"{\"fc9.weight\": x}", "Dict[str, Tensor]", "by 'fc9.weight'; allowed"},
      {"{\"bias\": x}", "Dict[str, Tensor]", "by 'bias'; allowed"},
      {"{\"weight\": x.double()}", "Dict[str, Tensor]", "CPUDoubleType [2, 2] by 'weight'"},
      {"{\"weight\": x[0]}", "Dict[str, Tensor]", "[2] by 'weight'"},
      {"{\"weight\": torch.cat([x, x], 1)}", "Dict[str, Tensor]", "[2, 4] by 'weight'"},
      {"{\"weight\": torch.mm(x, self.weight)}", "Dict[str, Tensor]", "cannot be multiplied"},
  };
  for (const auto& [gives, type, why] : bad) {
    SCOPED_TRACE(gives);
    const JobInfo job =
        Job(MakeProgram(LinearTensors(), absl::StrCat(kLinear, "\ndef layer_inputs(self, x) -> ",
                                                      type, ":\n    return ", gives, "\n")));
    EXPECT_THAT(TorchWorker().InitialModel(job, DataShape::Of(*view.dataset), 1),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("the program does not fit the data"), HasSubstr(why))));
  }
}

}  // namespace
}  // namespace tributary
