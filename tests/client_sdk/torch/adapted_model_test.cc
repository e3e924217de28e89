#include "client_sdk/torch/adapted_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::RandomParams;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

struct Case {
  BuiltinModel spec;
  DataShape shape;
  std::vector<std::string> targets;
};

Case ImageCase(const std::string& name, std::vector<int64_t> shape = {2, 9, 14}) {
  BuiltinModel spec;
  spec.name = name;
  if (name == "mlp") spec.hidden = {7, 5};
  return {spec, {std::move(shape), 4, /*tokens=*/false}, {"*"}};
}

Case TextCase(const std::string& name) {
  BuiltinModel spec;
  spec.name = name;
  spec.layers = 2;
  spec.heads = 2;
  spec.width = 12;
  spec.mlp_width = 20;
  return {spec, {{6}, 11, /*tokens=*/true}, {"h.*", "model.layers.*", "lm_head"}};
}

std::unique_ptr<TorchModel> Make(const Case& of) { return MakeModel(of.spec, of.shape).value(); }

at::Tensor RandomInputs(const DataShape& shape, int64_t examples) {
  Rng rng(5);
  std::vector<int64_t> sizes = shape.example_shape;
  sizes.insert(sizes.begin(), examples);
  at::Tensor inputs = at::empty(sizes);
  float* const values = inputs.data_ptr<float>();
  for (int64_t i = 0; i < inputs.numel(); ++i) {
    values[i] = static_cast<float>(shape.tokens ? rng.UniformInt(shape.num_classes) : rng.Normal());
  }
  return shape.tokens ? inputs.to(at::kLong) : inputs;
}

// The frozen model and an adapter of it, both of random values.
struct Tuned {
  FrozenModel frozen;
  ParamVector adapter;

  double scale() const { return frozen.plan->spec().Scale(frozen.rank); }
};

Tuned Tune(const Case& of, int64_t rank, AdapterFactors trains = AdapterFactors::kBoth,
           const std::string& rule = "lora_stacking", double dropout = 0) {
  LoraSpec spec;
  spec.rank = rank;
  spec.alpha = 1.5;
  spec.dropout = dropout;
  spec.targets = of.targets;
  const LayoutPtr layout = LayoutOf(*Make(of)).value();
  auto plan =
      LoraPlan::Create(spec, FindLoraRule(rule).value(), *layout, of.spec.name == "gpt").value();
  auto model = std::make_shared<const ParamVector>(RandomParams(plan->model(), 7, 0.3F));
  ParamVector adapter = RandomParams(plan->AdapterLayout(rank), 8, 0.3F);
  return {{std::move(plan), std::move(model), rank, trains}, std::move(adapter)};
}

// A model as any other, but its layers are its own affair.
class WithoutHook final : public TorchModel {
 public:
  explicit WithoutHook(const Case& of) : model_(Make(of)) {
    for (const ModelParam& param : model_->params()) {
      AddParam({.name = param.name, .shape = param.shape});
    }
  }
  bool CallsHook() const override { return false; }
  at::Tensor Forward(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                     LayerHook* /*hook*/) const override {
    return model_->Forward(params, inputs);
  }

 private:
  const std::unique_ptr<TorchModel> model_;
};

struct Outcome {
  at::Tensor logits;
  std::vector<at::Tensor> gradients;  // of the trained factors
};

at::Tensor LossOf(const at::Tensor& logits) {
  const at::Tensor targets = at::arange(logits.size(0), at::kLong).remainder(3);
  return at::cross_entropy_loss(logits, targets);
}

// With the adapter's values in `trained`, which holds all factors or those that are trained.
Outcome OutcomeWith(const AdaptedModel& adapted, const ParamVector& trained,
                    const at::Tensor& inputs) {
  const std::vector<at::Tensor> factors =
      ParamViews(*trained.layout(), trained.values().data(), /*with_gradients=*/true);
  Outcome outcome{.logits = adapted.Forward(factors, inputs), .gradients = {}};
  LossOf(outcome.logits).backward();
  for (const at::Tensor& factor : factors) outcome.gradients.push_back(factor.grad().clone());
  outcome.logits = outcome.logits.detach();
  return outcome;
}

Outcome OutcomeOf(TorchModel& model, const Tuned& tuned, const at::Tensor& inputs) {
  const auto adapted = AdaptedModel::Create(model, tuned.frozen, tuned.adapter).value();
  adapted->Begin(Mode::kTrain, Rng(1));
  ParamVector trained(tuned.frozen.plan->AdapterLayout(tuned.frozen.rank, tuned.frozen.trains));
  CopyShared(tuned.adapter, trained);
  return OutcomeWith(*adapted, trained, inputs);
}

// Of the weights alone, if `values` hold an adapter too.
at::Tensor LogitsOf(const TorchModel& model, const ParamVector& values, const at::Tensor& inputs) {
  const at::NoGradGuard no_gradients;
  ParamVector weights(LayoutOf(model).value());
  CopyShared(values, weights);
  return model.Forward(ParamViews(*weights.layout(), weights.values().data(), false), inputs);
}

double Distance(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

double Largest(const at::Tensor& a) { return a.abs().max().item<double>(); }

at::Tensor Double(const ParamVector& values, const std::string& name) {
  auto* data = const_cast<float*>(values.View(name).data());
  return at::from_blob(data, values.layout()->Find(name)->shape).to(at::kDouble);
}

class AdaptedModelTest : public ::testing::TestWithParam<Case> {
 protected:
  const std::unique_ptr<TorchModel> model_ = Make(GetParam());
  const at::Tensor inputs_ = RandomInputs(GetParam().shape, 5);
};

std::string NameOf(const ::testing::TestParamInfo<Case>& info) { return info.param.spec.name; }

INSTANTIATE_TEST_SUITE_P(All, AdaptedModelTest,
                         ::testing::Values(ImageCase("logistic"), ImageCase("mlp"),
                                           ImageCase("cnn"), ImageCase("resnet"), TextCase("gpt"),
                                           TextCase("llama")),
                         NameOf);

TEST_P(AdaptedModelTest, HooksSeeEveryLayer) {
  struct Watch final : LayerHook {
    void Linear(const std::string& weight, const at::Tensor& x, const at::Tensor& y) override {
      seen.push_back(weight);
      sizes.push_back({x.size(1), y.size(1)});
    }
    void Conv(const std::string& weight, const at::Tensor& x, int64_t kernel, int64_t stride,
              int64_t padding, const at::Tensor& y) override {
      seen.push_back(weight);
      sizes.push_back({x.size(1) * kernel * kernel, y.size(1)});
      EXPECT_EQ((x.size(3) + 2 * padding - kernel) / stride + 1, y.size(3)) << weight;
    }
    std::vector<std::string> seen;
    std::vector<std::pair<int64_t, int64_t>> sizes;  // in, out
  };
  const Tuned tuned = Tune(GetParam(), 2);
  Watch watch;
  model_->Forward(ParamViews(*tuned.frozen.model->layout(), tuned.frozen.model->values().data(), 0),
                  inputs_, &watch);
  std::vector<std::string> expected;
  for (const ModelParam& param : model_->params()) {
    if (param.layer != LayerWeight::kNone) expected.push_back(param.name);
  }
  EXPECT_THAT(watch.seen, ::testing::UnorderedElementsAreArray(expected));
  ASSERT_EQ(expected.size(), tuned.frozen.plan->modules().size());
  for (size_t i = 0; i < watch.seen.size(); ++i) {
    const LoraModule& module =
        tuned.frozen.plan->module(watch.seen[i].substr(0, watch.seen[i].rfind('.')));
    EXPECT_EQ(watch.sizes[i], std::pair(module.columns, module.rows)) << module.name;
  }
}

// What is added is a sum of zeros, which changes no bit but the sign of a zero.
TEST_P(AdaptedModelTest, WithBAtZeroGivesTheModelsOwnLogitsToTheBit) {
  Tuned tuned = Tune(GetParam(), 3);
  for (const LoraModule& module : tuned.frozen.plan->modules()) {
    std::ranges::fill(tuned.adapter.View(FactorName(module.name, 'B')), 0.0F);
  }
  const at::Tensor own = LogitsOf(*model_, *tuned.frozen.model, inputs_);
  EXPECT_TRUE(at::equal(OutcomeOf(*model_, tuned, inputs_).logits, own));
}

// P12 of merging.
TEST_P(AdaptedModelTest, AgreesWithTheMergedModel) {
  for (const char* const rule : {"lora_stacking", "lora_average"}) {
    for (const int64_t rank : {1, 2, 3, 4, 5, 6, 7, 8, 30}) {
      const Tuned tuned = Tune(GetParam(), rank, AdapterFactors::kBoth, rule);
      const at::Tensor adapted = OutcomeOf(*model_, tuned, inputs_).logits;
      const at::Tensor merged = LogitsOf(
          *model_, tuned.frozen.plan->Merged(*tuned.frozen.model, tuned.adapter, rank), inputs_);
      const at::Tensor own = LogitsOf(*model_, *tuned.frozen.model, inputs_);
      EXPECT_LT(Distance(adapted, merged), 1e-5 * std::max(1.0, Largest(merged))) << rank;
      EXPECT_GT(Distance(adapted, own), 1e-2) << rank << ": the adapter does something";
    }
  }
}

TEST_P(AdaptedModelTest, AModelWithoutHooksGivesTheSame) {
  WithoutHook without(GetParam());
  for (const int64_t rank : {1, 4, 30}) {
    for (const AdapterFactors trains :
         {AdapterFactors::kBoth, AdapterFactors::kA, AdapterFactors::kB}) {
      const Tuned tuned = Tune(GetParam(), rank, trains);
      const Outcome low = OutcomeOf(*model_, tuned, inputs_),
                    merged = OutcomeOf(without, tuned, inputs_);
      EXPECT_LT(Distance(low.logits, merged.logits), 1e-5 * std::max(1.0, Largest(low.logits)));
      const size_t modules = tuned.frozen.plan->modules().size();
      ASSERT_EQ(low.gradients.size(), trains == AdapterFactors::kBoth ? 2 * modules : modules);
      for (size_t i = 0; i < low.gradients.size(); ++i) {
        EXPECT_LT(Distance(low.gradients[i], merged.gradients[i]),
                  2e-5 * std::max(1.0, Largest(low.gradients[i])))
            << "rank " << rank << ", factor " << i;
        EXPECT_GT(Largest(low.gradients[i]), 0) << "rank " << rank << ", factor " << i;
      }
    }
  }
}

TEST_P(AdaptedModelTest, DropoutReachesEveryLayersAdapter) {
  Case of = GetParam();
  const FrozenModel all = Tune(of, 2).frozen;
  for (const LoraModule& module : all.plan->modules()) {
    of.targets = {module.name};
    const Tuned whole = Tune(of, 2);
    const Tuned dropping = Tune(of, 2, AdapterFactors::kBoth, "lora_stacking", 0.5);
    EXPECT_GT(Distance(OutcomeOf(*model_, whole, inputs_).logits,
                       OutcomeOf(*model_, dropping, inputs_).logits),
              1e-4)
        << module.name;
  }
}

class ImageAdapterTest : public AdaptedModelTest {};

INSTANTIATE_TEST_SUITE_P(All, ImageAdapterTest,
                         ::testing::Values(ImageCase("logistic"), ImageCase("mlp"),
                                           ImageCase("cnn"), ImageCase("resnet")),
                         NameOf);

// The weights of the reference are formed here, in double. Language models have an oracle of their
// own: adapter_training_test.cc.
TEST_P(ImageAdapterTest, LogitsAndGradientsAreThoseOfTheWeightsInDouble) {
  for (const int64_t rank : {1, 3, 8}) {
    const Tuned tuned = Tune(GetParam(), rank);
    std::vector<at::Tensor> weights, factors;
    for (const ModelParam& param : model_->params()) {
      weights.push_back(Double(*tuned.frozen.model, param.name));
      const std::string module = param.name.substr(0, param.name.rfind('.'));
      if (param.layer == LayerWeight::kNone) continue;
      const at::Tensor a = Double(tuned.adapter, FactorName(module, 'A')).set_requires_grad(true);
      const at::Tensor b = Double(tuned.adapter, FactorName(module, 'B')).set_requires_grad(true);
      weights.back() = weights.back() + (tuned.scale() * b.mm(a)).view(weights.back().sizes());
      factors.push_back(a);
      factors.push_back(b);
    }
    const at::Tensor expected = model_->Forward(weights, inputs_.to(at::kDouble));
    LossOf(expected).backward();
    const Outcome found = OutcomeOf(*model_, tuned, inputs_);
    EXPECT_LT(Distance(found.logits, expected.detach()), 1e-5 * std::max(1.0, Largest(expected)));
    ASSERT_EQ(found.gradients.size(), factors.size());
    for (size_t i = 0; i < factors.size(); ++i) {
      EXPECT_LT(Distance(found.gradients[i], factors[i].grad()),
                1e-5 * std::max(1.0, Largest(factors[i].grad())))
          << "rank " << rank << ", factor " << i;
    }
  }
}

// One layer of zeros, A and B the identity: what an adapter adds is its inputs, dropped or kept.
class DropoutTest : public ::testing::Test {
 protected:
  static constexpr int64_t kUnits = 400;
  static constexpr double kShare = 0.25;

  DropoutTest() {
    Case of = ImageCase("logistic", {kUnits});
    of.shape.num_classes = kUnits;
    model_ = Make(of);
    tuned_ = Tune(of, kUnits, AdapterFactors::kBoth, "lora_stacking", kShare);
    tuned_.frozen.model = std::make_shared<const ParamVector>(tuned_.frozen.plan->model());
    for (const char factor : {'A', 'B'}) {
      const absl::Span<float> values = tuned_.adapter.View(FactorName("fc1", factor));
      for (size_t i = 0; i < values.size(); ++i) values[i] = i % (kUnits + 1) == 0 ? 1 : 0;
    }
  }

  std::unique_ptr<AdaptedModel> Begun(uint64_t seed, Mode mode = Mode::kTrain) {
    auto adapted = AdaptedModel::Create(*model_, tuned_.frozen, tuned_.adapter).value();
    adapted->Begin(mode, Rng(seed));
    return adapted;
  }

  at::Tensor Pass(const AdaptedModel& adapted) const {
    const at::NoGradGuard no_gradients;
    const auto factors =
        ParamViews(*tuned_.adapter.layout(), tuned_.adapter.values().data(), false);
    return adapted.Forward(factors, at::ones({10, kUnits})) / tuned_.scale();
  }

  std::unique_ptr<TorchModel> model_;
  Tuned tuned_;
};

TEST_F(DropoutTest, DropsItsShareOfTheInputsAndScalesTheRest) {
  const auto adapted = Begun(3);
  const at::Tensor pass = Pass(*adapted);
  const at::Tensor dropped = pass.eq(0);
  EXPECT_LT(Distance(pass, dropped.logical_not().to(at::kFloat) / (1 - kShare)), 1e-5);
  const auto n = static_cast<double>(pass.numel());
  const double share = static_cast<double>(dropped.sum().item<int64_t>()) / n;
  EXPECT_NEAR(share, kShare, 5 * std::sqrt(kShare * (1 - kShare) / n));
  EXPECT_GT(Distance(pass.select(0, 0), pass.select(0, 1)), 0.5) << "every example has its own";
}

TEST_F(DropoutTest, ComesFromItsGeneratorAlone) {
  const auto one = Begun(3), same = Begun(3), other = Begun(4);
  const at::Tensor first = Pass(*one), second = Pass(*one);
  EXPECT_FALSE(at::equal(first, second));
  EXPECT_TRUE(at::equal(Pass(*same), first));
  at::empty({100}).uniform_();  // of the global generator
  EXPECT_TRUE(at::equal(Pass(*same), second));
  EXPECT_FALSE(at::equal(Pass(*other), first));
}

TEST_F(DropoutTest, IsForTrainingOnly) {
  const at::Tensor pass = Pass(*Begun(3, Mode::kEvaluate));
  EXPECT_LT(Distance(pass, at::ones_like(pass)), 1e-5);
}

TEST(AdaptedModelRefusalTest, DropoutNeedsAHook) {
  const Case of = ImageCase("mlp");
  const Tuned tuned = Tune(of, 2, AdapterFactors::kBoth, "lora_stacking", 0.1);
  WithoutHook without(of);
  EXPECT_THAT(AdaptedModel::Create(without, tuned.frozen, tuned.adapter).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("lora.dropout is 0.1"), HasSubstr("allowed: 0"))));
}

// What LibTorch allocates on this thread.
class Allocations final : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void* /*ptr*/, int64_t size, int64_t /*total_allocated*/,
                         int64_t /*total_reserved*/, c10::Device /*device*/) override {
    now_ += size;
    largest_ = std::max(largest_, size);
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }

  int64_t largest() const { return largest_; }
  int64_t peak() const { return peak_; }

 private:
  int64_t now_ = 0;
  int64_t largest_ = 0;
  int64_t peak_ = 0;
};

// Layers of 1000 × 1000: 4 MB a weight. Activations of 8 examples are 32 KB.
TEST(AdaptedModelMemoryTest, AStepFormsNothingAsLargeAsAWeight) {
  Case of = ImageCase("mlp", {1000});
  of.spec.hidden = {1000, 1000};
  const std::unique_ptr<TorchModel> model = Make(of);
  const at::Tensor inputs = RandomInputs(of.shape, 8);
  const Tuned tuned = Tune(of, 4);
  const auto measured = [&](TorchModel& frozen) {
    const auto adapted = AdaptedModel::Create(frozen, tuned.frozen, tuned.adapter).value();
    auto seen = std::make_shared<Allocations>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, seen);
    OutcomeWith(*adapted, tuned.adapter, inputs);
    return seen;
  };
  const int64_t weight_bytes = 1000 * 1000 * 4;
  WithoutHook without(of);
  EXPECT_GE(measured(without)->largest(), weight_bytes) << "it would be seen";
  EXPECT_LT(measured(*model)->largest(), weight_bytes / 50);
  EXPECT_LT(measured(*model)->peak(), weight_bytes / 4) << "of all together";
}

// The embeddings of a tied model are its output layer too: they stay as they are.
TEST(AdaptedModelMemoryTest, FrozenWeightsGetNoGradient) {
  const Case of = TextCase("gpt");
  const Tuned tuned = Tune(of, 2);
  struct Watch final : TorchModel {
    explicit Watch(const Case& of) : model(Make(of)) {
      for (const ModelParam& param : model->params()) AddParam(param);
    }
    at::Tensor Forward(absl::Span<const at::Tensor> params, const at::Tensor& inputs,
                       LayerHook* hook) const override {
      seen.assign(params.begin(), params.end());
      return model->Forward(params, inputs, hook);
    }
    const std::unique_ptr<TorchModel> model;
    mutable std::vector<at::Tensor> seen;
  };
  Watch watch(of);
  OutcomeOf(watch, tuned, RandomInputs(of.shape, 3));
  ASSERT_EQ(watch.seen.size(), watch.params().size());
  for (const at::Tensor& weight : watch.seen) {
    EXPECT_FALSE(weight.requires_grad());
    EXPECT_FALSE(weight.grad().defined());
  }
}

}  // namespace
}  // namespace tributary
