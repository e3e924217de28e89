#include <algorithm>
#include <cmath>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/torch_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/torch/language_oracle.h"
#include "tests/client_sdk/torch/small_language_models.h"
#include "tests/testing/params.h"
#include "tests/testing/script_program.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::OracleLoss;
using test::ParamsNear;
using test::RandomParams;
using test::SmallGpt;
using test::SmallLlama;
using test::SmallQwen;
using test::StatusIs;
using test::Values;
using test::ValuesOf;
using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr int64_t kLength = 7;
constexpr int64_t kVocabulary = 11;

JobInfo Job(const BuiltinModel& spec, const std::string& optimizer = "{\"sgd\":{}}",
            const std::string& more = "") {
  JobInfo job;
  job.model_json = absl::StrCat("{\"builtin\":", config::Print(spec).dump(), "}");
  job.train_json = absl::StrCat("{\"optimizer\":", optimizer, more, "}");
  return job;
}

DataShape TextShape() { return {{kLength}, kVocabulary, /*tokens=*/true}; }

// Windows in which each token is three more than the one before.
DataView Text(int64_t windows) {
  auto data = std::make_shared<Dataset>();
  data->example_shape = {kLength};
  data->num_classes = kVocabulary;
  Rng rng(1);
  for (int64_t i = 0; i < windows * (kLength + 1); ++i) {
    data->tokens.push_back(static_cast<int32_t>(i % (kLength + 1) == 0
                                                    ? rng.UniformInt(kVocabulary)
                                                    : (data->tokens.back() + 3) % kVocabulary));
  }
  return DataView::All(std::move(data));
}

LoraSpec Lora(int64_t rank,
              std::vector<std::string> targets = {"h.*", "model.layers.*", "lm_head"}) {
  LoraSpec spec;
  spec.rank = rank;
  spec.alpha = 1.5;
  spec.targets = std::move(targets);
  return spec;
}

FrozenModel Freeze(const BuiltinModel& spec, const LoraSpec& lora,
                   const std::string& rule = "lora_stacking",
                   AdapterFactors trains = AdapterFactors::kBoth, float deviation = 0.3F) {
  const LayoutPtr layout = TorchWorker().InitialModel(Job(spec), TextShape(), 1).value().layout();
  auto plan =
      LoraPlan::Create(lora, FindLoraRule(rule).value(), *layout, spec.name == "gpt").value();
  auto model = std::make_shared<const ParamVector>(RandomParams(plan->model(), 7, deviation));
  return {std::move(plan), std::move(model), lora.max_rank(), trains};
}

ParamVector RandomAdapter(const FrozenModel& frozen) {
  return RandomParams(frozen.plan->AdapterLayout(frozen.rank), 8, 0.3F);
}

TrainTask Task(const JobInfo& job, int64_t steps) {
  TrainTask task;
  task.job = job;
  task.local_steps = steps;
  task.rng = Rng(1);
  return task;
}

// W + s·B·A as plain loops.
Values EffectiveWeights(const FrozenModel& frozen, const Values& adapter) {
  Values values = ValuesOf(*frozen.model);
  const auto rank = static_cast<size_t>(frozen.rank);
  const double scale = 1.5 / static_cast<double>(frozen.rank);
  for (const LoraModule& module : frozen.plan->modules()) {
    const std::vector<double>& a = adapter.at(module.name + ".lora_A.weight");
    const std::vector<double>& b = adapter.at(module.name + ".lora_B.weight");
    std::vector<double>& w = values.at(module.weight);
    const auto rows = static_cast<size_t>(module.rows);
    const auto columns = static_cast<size_t>(module.columns);
    for (size_t i = 0; i < rows; ++i) {
      for (size_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (size_t k = 0; k < rank; ++k) sum += b[i * rank + k] * a[k * columns + j];
        w[module.transposed ? j * rows + i : i * columns + j] += scale * sum;
      }
    }
  }
  return values;
}

class AdapterTrainingTest : public ::testing::TestWithParam<BuiltinModel> {};

std::string NameOf(const ::testing::TestParamInfo<BuiltinModel>& info) {
  return info.param.qkv_bias ? "qwen" : info.param.name;
}

INSTANTIATE_TEST_SUITE_P(All, AdapterTrainingTest,
                         ::testing::Values(SmallGpt(), SmallLlama(), SmallQwen()), NameOf);

// A step of SGD with rate 1 is the gradient; the oracle's comes from differences of its loss.
TEST_P(AdapterTrainingTest, GradientsAreThoseOfTheOraclesLoss) {
  const DataView data = Text(2);
  for (const int64_t rank : {1, 3, 25}) {
    const FrozenModel frozen = Freeze(GetParam(), Lora(rank));
    const ParamVector start = RandomAdapter(frozen);
    ParamVector adapter = start.Clone();
    const TrainTask task = Task(Job(GetParam(), "{\"sgd\":{\"learning_rate\":1}}"), 1);
    TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result,
                              TorchWorker().TrainAdapter(task, frozen, data, adapter));
    Values values = ValuesOf(start);
    const auto loss = [&] {
      return OracleLoss(GetParam(), EffectiveWeights(frozen, values), data.dataset->tokens,
                        kLength + 1);
    };
    EXPECT_NEAR(result.loss, loss(), 1e-5);
    constexpr double kStep = 1e-4;
    for (auto& [name, tensor] : values) {
      for (size_t i = 0; i < tensor.size(); i += 1 + tensor.size() / 2) {
        const double value = tensor[i];
        tensor[i] = value + kStep;
        const double above = loss();
        tensor[i] = value - kStep;
        const double below = loss();
        tensor[i] = value;
        const double gradient = (above - below) / (2 * kStep);
        EXPECT_NEAR(start.View(name)[i] - adapter.View(name)[i], gradient, 1e-5)
            << "rank " << rank << ", " << name << "[" << i << "]";
      }
    }
  }
}

TEST_P(AdapterTrainingTest, LearnsWhileTheModelStays) {
  const DataView view = Text(64);
  for (const char* const rule : {"lora_stacking", "lora_average"}) {
    LoraSpec lora = Lora(4);
    lora.alpha = 8;
    const FrozenModel frozen = Freeze(GetParam(), lora, rule, AdapterFactors::kBoth, 0.6F);
    const Digest before = frozen.model->ComputeDigest();
    const TrainTask task = Task(Job(GetParam(), "{\"adam\":{\"learning_rate\":0.02}}"), 150);
    ParamVector adapter = frozen.plan->StartAdapter(*frozen.model, 4, /*order_seed=*/3);
    TorchWorker worker;
    const auto loss = [&] {
      const ParamVector merged = frozen.plan->Merged(*frozen.model, adapter, 4);
      return worker.Evaluate({.job = task.job}, view, merged).value().loss;
    };
    const double first = loss();
    TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult result,
                              worker.TrainAdapter(task, frozen, view, adapter));
    EXPECT_LT(loss(), std::min(first, std::log(kVocabulary)) / 2);
    EXPECT_EQ(result.num_examples, 64);
    EXPECT_EQ(result.local_steps, 150);
    EXPECT_EQ(frozen.model->ComputeDigest(), before);
  }
}

TEST_P(AdapterTrainingTest, TheFactorThatIsNotTrainedStaysToTheBit) {
  const DataView data = Text(20);
  // Momentum and decay would move whatever the optimizer is given.
  const TrainTask task = Task(
      Job(GetParam(), R"({"sgd":{"learning_rate":0.1,"momentum":0.9,"weight_decay":0.1}})"), 3);
  for (const AdapterFactors trains : {AdapterFactors::kA, AdapterFactors::kB}) {
    const FrozenModel frozen = Freeze(GetParam(), Lora(3), "ffa", trains);
    const ParamVector start = RandomAdapter(frozen);
    ParamVector adapter = start.Clone();
    EXPECT_THAT(TorchWorker().TrainAdapter(task, frozen, data, adapter), test::IsOk());
    for (const LoraModule& module : frozen.plan->modules()) {
      for (const char factor : {'A', 'B'}) {
        const std::string name = FactorName(module.name, factor);
        const bool trained = (trains == AdapterFactors::kA) == (factor == 'A');
        const auto same = ElementsAreArray(start.View(name));
        EXPECT_EQ(::testing::Value(adapter.View(name), same), !trained) << name;
      }
    }
  }
}

// What a step makes of a factor does not depend on whether the other one is trained too.
TEST_P(AdapterTrainingTest, AFactorTrainsAloneAsItDoesWithTheOther) {
  const DataView data = Text(5);
  const TrainTask task = Task(Job(GetParam()), 1);
  const auto trained = [&](AdapterFactors trains) {
    const FrozenModel frozen = Freeze(GetParam(), Lora(2), "lora_stacking", trains);
    ParamVector adapter = RandomAdapter(frozen);
    EXPECT_THAT(TorchWorker().TrainAdapter(task, frozen, data, adapter), test::IsOk());
    return adapter;
  };
  const ParamVector both = trained(AdapterFactors::kBoth);
  for (const AdapterFactors trains : {AdapterFactors::kA, AdapterFactors::kB}) {
    const ParamVector alone = trained(trains);
    for (const ParamLayout::Tensor& tensor : both.layout()->tensors()) {
      const bool of_a = tensor.name.ends_with(".lora_A.weight");
      if (of_a != (trains == AdapterFactors::kA)) continue;
      EXPECT_THAT(alone.View(tensor.name), ParamsNear(both.View(tensor.name), 1e-6)) << tensor.name;
    }
  }
}

TEST_P(AdapterTrainingTest, IsAFunctionOfItsTaskOnAnyThread) {
  const DataView data = Text(40);
  const auto train = [&](double dropout, uint64_t seed, TorchWorker& worker) {
    LoraSpec lora = Lora(3);
    lora.dropout = dropout;
    const FrozenModel frozen = Freeze(GetParam(), lora);
    ParamVector adapter = RandomAdapter(frozen);
    TrainTask task = Task(Job(GetParam()), 5);
    task.rng = Rng(seed);
    EXPECT_THAT(worker.TrainAdapter(task, frozen, data, adapter), test::IsOk());
    return adapter.ComputeDigest();
  };
  TorchWorker worker, other;
  const Digest expected = train(0.2, 1, worker);
  EXPECT_NE(train(0.2, 2, worker), expected) << "another seed";
  EXPECT_NE(train(0, 1, worker), expected) << "no dropout";
  EXPECT_EQ(train(0.2, 1, worker), expected) << "after other tasks";
  std::vector<Digest> found(2);
  {
    const std::jthread one([&] { found[0] = train(0.2, 1, worker); });
    const std::jthread two([&] { found[1] = train(0.2, 1, other); });
  }
  EXPECT_THAT(found, ::testing::Each(expected));
}

TEST_P(AdapterTrainingTest, TheProximalTermPullsTowardsTheStart) {
  const DataView data = Text(20);
  const FrozenModel frozen = Freeze(GetParam(), Lora(3));
  const ParamVector start = RandomAdapter(frozen);
  const auto moved = [&](const std::string& proximal) {
    ParamVector adapter = start.Clone();
    const TrainTask task =
        Task(Job(GetParam(), "{\"sgd\":{\"learning_rate\":0.05}}", proximal), 30);
    EXPECT_THAT(TorchWorker().TrainAdapter(task, frozen, data, adapter), test::IsOk());
    AddScaled(-1, start.values(), adapter.values());
    return SquaredNorm(adapter.values());
  };
  EXPECT_LT(moved(",\"proximal\":10"), 0.25 * moved(""));
}

TEST_P(AdapterTrainingTest, EndsWhereItIsStopped) {
  const DataView data = Text(40);
  const FrozenModel frozen = Freeze(GetParam(), Lora(3));
  const ParamVector start = RandomAdapter(frozen);
  ParamVector expected = start.Clone(), adapter = start.Clone();
  EXPECT_THAT(TorchWorker().TrainAdapter(Task(Job(GetParam()), 2), frozen, data, expected),
              test::IsOk());
  std::stop_source stop;
  TrainTask task = Task(Job(GetParam()), 5);
  task.stop = stop.get_token();
  task.progress = [&](int64_t done, int64_t) {
    if (done == 2) stop.request_stop();
  };
  EXPECT_THAT(TorchWorker().TrainAdapter(task, frozen, data, adapter),
              StatusIs(absl::StatusCode::kCancelled, HasSubstr("after 2 of 5 steps")));
  EXPECT_THAT(adapter, ParamsNear(expected, 0));
}

// Two operations a multiplication: forward and backward through every layer, three times through
// the trained factors, twice through one that is not.
TEST(AdapterFlopsTest, CountNoGradientOfFrozenWeights) {
  const DataView data = Text(10);
  const auto flops = [&](AdapterFactors trains) {
    const FrozenModel frozen = Freeze(SmallGpt(), Lora(3, {"*.c_attn"}), "lora_stacking", trains);
    ParamVector adapter = RandomAdapter(frozen);
    TrainTask task = Task(Job(SmallGpt(), "{\"sgd\":{}}", ",\"batch_size\":10"), 2);
    return TorchWorker().TrainAdapter(task, frozen, data, adapter).value().flops;
  };
  const int64_t weights = 11 * 12 + 2 * (12 * 36 + 12 * 12 + 2 * 12 * 20);
  const int64_t a = 2 * 3 * 12, b = 2 * 3 * 36, examples = 2 * 10;
  const auto of = [&](int64_t multiplications) { return 2 * multiplications * kLength * examples; };
  EXPECT_EQ(flops(AdapterFactors::kBoth), of(2 * weights + 3 * a + 3 * b));
  EXPECT_EQ(flops(AdapterFactors::kA), of(2 * weights + 3 * a + 2 * b));
  EXPECT_EQ(flops(AdapterFactors::kB), of(2 * weights + 2 * a + 3 * b));
}

class AdapterRefusalTest : public ::testing::Test {
 protected:
  absl::Status Train(const TrainTask& task, const FrozenModel& frozen, ParamVector adapter) {
    return worker_.TrainAdapter(task, frozen, data_, adapter).status();
  }
  absl::Status Train(const BuiltinModel& spec, const FrozenModel& frozen) {
    return Train(Task(Job(spec), 1), frozen, RandomAdapter(frozen));
  }

  TorchWorker worker_;
  DataView data_ = Text(5);
};

auto Refused(const char* why) { return StatusIs(absl::StatusCode::kInvalidArgument, why); }

auto Refused(const std::string& why, const std::string& allowed) {
  return StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr(why), HasSubstr(allowed)));
}

TEST_F(AdapterRefusalTest, TargetsThatAreNoLayers) {
  for (const char* const table : {"wte", "wpe"}) {
    EXPECT_THAT(Train(SmallGpt(), Freeze(SmallGpt(), Lora(2, {table, "*.c_attn"}))),
                Refused(absl::StrCat("'", table, "' is neither a linear layer nor a convolution"),
                        "allowed: h.0.attn.c_attn, h.0.attn.c_proj, h.0.mlp.c_fc"));
  }
  for (const BuiltinModel& spec : {SmallLlama(), SmallQwen()}) {
    EXPECT_THAT(Train(spec, Freeze(spec, Lora(2, {"model.embed_tokens"}))),
                Refused("'model.embed_tokens' is neither", "allowed: model.layers.0.self_attn"));
  }
}

TEST_F(AdapterRefusalTest, WeightsThatLieTheOtherWay) {
  LoraSpec lora = Lora(2);
  lora.fan_in_fan_out = false;
  EXPECT_THAT(Train(SmallGpt(), Freeze(SmallGpt(), lora)),
              Refused("lora.fan_in_fan_out: the weight of 'h.0.attn.c_attn'", "allowed: true"));
  lora.fan_in_fan_out = true;
  EXPECT_THAT(Train(SmallLlama(), Freeze(SmallLlama(), lora)),
              Refused("the weight of 'model.layers.0.self_attn.q_proj'", "allowed: false"));
}

TEST_F(AdapterRefusalTest, WhatIsOfAnotherModelOrPlan) {
  FrozenModel frozen = Freeze(SmallGpt(), Lora(2));
  BuiltinModel deeper = SmallGpt();
  deeper.layers = 3;
  EXPECT_THAT(Train(deeper, frozen), Refused("'h.2.ln_1.weight' is missing", ""));
  EXPECT_THAT(
      Train(Task(Job(SmallGpt()), 1), frozen, ParamVector(frozen.plan->AdapterLayout(3))),
      Refused("the adapter: the model's tensor 'h.0.attn.c_attn.lora_A.weight'", "another shape"));
  EXPECT_THAT(Train(Task(Job(SmallGpt()), 1), frozen, ParamVector()),
              Refused("the adapter: the model has no layout", ""));
  frozen.rank = 0;
  EXPECT_THAT(Train(Task(Job(SmallGpt()), 1), frozen, ParamVector()),
              Refused("the adapter's rank is 0", "at least 1"));
  frozen = Freeze(SmallGpt(), Lora(2));
  frozen.model = Freeze(SmallGpt(), Lora(2), "lora_average").model;
  EXPECT_THAT(Train(SmallGpt(), frozen), Refused("the model has", "tensors"));
}

TEST_F(AdapterRefusalTest, WhatSaysSomethingOfWholeModels) {
  const FrozenModel frozen = Freeze(SmallGpt(), Lora(2));
  TrainTask task = Task(Job(SmallGpt(), "{\"sgd\":{}}", ",\"hypergradient\":{}"), 1);
  EXPECT_THAT(Train(task, frozen, RandomAdapter(frozen)),
              Refused("train.hypergradient", "allowed with adapters: none"));
  task = Task(Job(SmallGpt()), 1);
  task.mask = std::make_shared<const Mask>(
      std::vector<bool>(static_cast<size_t>(frozen.plan->ordinary()->trainable_size()), true));
  EXPECT_THAT(Train(task, frozen, RandomAdapter(frozen)),
              Refused("has a mask", "allowed with adapters: none"));
}

TEST_F(AdapterRefusalTest, NoStepsAndNoExamples) {
  const FrozenModel frozen = Freeze(SmallGpt(), Lora(2));
  EXPECT_THAT(Train(Task(Job(SmallGpt()), 0), frozen, RandomAdapter(frozen)),
              Refused("local_steps is 0", "at least 1"));
  data_.indices.clear();
  EXPECT_THAT(Train(SmallGpt(), frozen), Refused("the client has no examples"));
}

// A program shows no layers: W + s·B·A takes the place of W. What it multiplies is not known.
TEST(ScriptAdapterTest, TrainsAsTheBuiltInModelOfTheSameLayout) {
  auto dataset = std::make_shared<Dataset>();
  dataset->example_shape = {6};
  dataset->num_classes = 3;
  Rng rng(2);
  for (int i = 0; i < 20; ++i) {
    dataset->labels.push_back(i % 3);
    for (int j = 0; j < 6; ++j) dataset->features.push_back(static_cast<float>(rng.Normal()));
  }
  const DataView data = DataView::All(std::move(dataset));
  BuiltinModel mlp;
  mlp.name = "mlp";
  mlp.hidden = {5};
  const JobInfo built = Job(mlp, "{\"sgd\":{\"learning_rate\":0.1,\"momentum\":0.9}}");
  JobInfo program = built;
  test::SetProgram(test::MlpProgram(6, 5, 3), program);
  TorchWorker worker;
  const LayoutPtr layout =
      worker.InitialModel(program, DataShape::Of(*data.dataset), 1).value().layout();
  LoraSpec lora = Lora(2, {"fc*"});
  const auto freeze = [&] {
    return FrozenModel{LoraPlan::Create(lora, FindLoraRule("lora_stacking").value(), *layout,
                                        /*transposed_weights=*/false)
                           .value(),
                       std::make_shared<const ParamVector>(RandomParams(layout, 7, 0.3F)), 2};
  };
  ParamVector expected = RandomAdapter(freeze()), adapter = RandomAdapter(freeze());
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult one,
                            worker.TrainAdapter(Task(built, 20), freeze(), data, expected));
  TRIB_ASSERT_OK_AND_ASSIGN(const TrainResult two,
                            worker.TrainAdapter(Task(program, 20), freeze(), data, adapter));
  EXPECT_THAT(adapter, ParamsNear(expected, 1e-5));
  EXPECT_NEAR(two.loss, one.loss, 1e-5);
  EXPECT_GT(one.flops, 0);
  EXPECT_EQ(two.flops, 0);
  lora.dropout = 0.1;
  EXPECT_THAT(worker.TrainAdapter(Task(program, 1), freeze(), data, adapter).status(),
              Refused("lora.dropout is 0.1", "allowed: 0"));
}

TEST(TorchTrainerAdapterTest, TrainsAsItsWorkerDoes) {
  const FrozenModel frozen = Freeze(SmallGpt(), Lora(2));
  const TrainTask task = Task(Job(SmallGpt()), 3);
  ParamVector expected = RandomAdapter(frozen), adapter = RandomAdapter(frozen);
  EXPECT_THAT(TorchWorker().TrainAdapter(task, frozen, Text(20), expected), test::IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const auto trainer, TorchTrainer::Create({.train = Text(20)}));
  EXPECT_THAT(trainer->TrainAdapter(task, frozen, adapter), test::IsOk());
  EXPECT_THAT(adapter, ParamsNear(expected, 0));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto reader, TorchTrainer::Create({.eval = Text(20)}));
  EXPECT_THAT(reader->TrainAdapter(task, frozen, adapter),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace tributary
