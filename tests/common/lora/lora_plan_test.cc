#include "common/lora/lora_plan.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::MakeLayout;
using test::ParamsNear;
using test::RandomParams;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// A linear layer, a convolution, what has no adapter, and a linear layer again.
LayoutPtr Model() {
  return MakeLayout({{"fc.weight", {3, 5}},
                     {"fc.bias", {3}},
                     {"conv.weight", {4, 2, 3, 3}},
                     {"norm.weight", {4}},
                     {"table", {6, 2}},
                     {"mean.weight", {2, 2}, TensorKind::kBuffer},
                     {"head.weight", {6, 4}}});
}

LoraSpec Spec(std::vector<int64_t> ranks, std::vector<std::string> targets = {"*"}) {
  LoraSpec spec;
  spec.ranks = std::move(ranks);
  spec.alpha = 8;
  spec.targets = std::move(targets);
  return spec;
}

// No adapter is kept by the first, one is by the second.
constexpr char kMerges[] = "lora_stacking";
constexpr char kKeeps[] = "lora_average";

using PlanPtr = std::shared_ptr<const LoraPlan>;

absl::StatusOr<PlanPtr> Create(const LoraSpec& spec, const std::string& rule,
                               const ParamLayout& model, bool transposed = false) {
  return LoraPlan::Create(spec, FindLoraRule(rule).value(), model, transposed);
}

PlanPtr Plan(const LoraSpec& spec, const std::string& rule, bool transposed = false) {
  return Create(spec, rule, *Model(), transposed).value();
}

std::vector<std::string> Described(const ParamLayout& layout) {
  std::vector<std::string> lines;
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    lines.push_back(absl::StrCat(tensor.name, " ", absl::StrJoin(tensor.shape, "x")));
  }
  return lines;
}

std::vector<std::string> Described(const LoraPlan& plan) {
  std::vector<std::string> lines;
  for (const LoraModule& m : plan.modules()) {
    EXPECT_EQ(m.weight, m.name + ".weight");
    lines.push_back(absl::StrCat(m.name, " ", m.rows, "x", m.columns, m.transposed ? " t" : ""));
  }
  return lines;
}

// weight + scale·B·A as plain loops.
std::vector<float> Product(absl::Span<const float> weight, const LoraModule& module,
                           absl::Span<const float> a, absl::Span<const float> b, double scale) {
  std::vector<float> sum(weight.begin(), weight.end());
  const auto rows = static_cast<size_t>(module.rows), columns = static_cast<size_t>(module.columns);
  const size_t rank = a.size() / columns;
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j) {
      double product = 0;
      for (size_t k = 0; k < rank; ++k) product += double{b[i * rank + k]} * a[k * columns + j];
      sum[module.transposed ? j * rows + i : i * columns + j] +=
          static_cast<float>(scale * product);
    }
  }
  return sum;
}

TEST(LoraPlanTest, ModulesAreTheTrainableWeightsThatMatchInTheLayoutsOrder) {
  EXPECT_THAT(Described(*Plan(Spec({2}), kMerges)), ElementsAre("fc 3x5", "conv 4x18", "head 6x4"));
  EXPECT_THAT(Described(*Plan(Spec({2}, {"head", "f?"}), kMerges)),
              ElementsAre("fc 3x5", "head 6x4"));
  EXPECT_THAT(Plan(Spec({2}), kMerges)->module("conv").columns, 18);
}

TEST(LoraPlanTest, OnlyMatricesLieTransposed) {
  EXPECT_THAT(Described(*Plan(Spec({2}), kMerges, /*transposed=*/true)),
              ElementsAre("fc 5x3 t", "conv 4x18", "head 4x6 t"));
  LoraSpec spec = Spec({2});
  spec.fan_in_fan_out = true;  // the spec's word counts
  EXPECT_THAT(Described(*Plan(spec, kMerges, /*transposed=*/false)),
              ElementsAre("fc 5x3 t", "conv 4x18", "head 4x6 t"));
  spec.fan_in_fan_out = false;
  EXPECT_THAT(Described(*Plan(spec, kMerges, /*transposed=*/true)),
              ElementsAre("fc 3x5", "conv 4x18", "head 6x4"));
}

TEST(LoraPlanTest, RefusesTargetsThatMatchNothing) {
  EXPECT_THAT(Create(Spec({2}, {"norm", "table", "mean", "fc.weight"}), kMerges, *Model()),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("lora.targets [norm, table, mean, fc.weight] match no"),
                             HasSubstr("it has fc, conv, head"))));
  EXPECT_THAT(Create(Spec({2}), kMerges, *MakeLayout({{"norm.weight", {4}}})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("it has none")));
  std::vector<ParamLayout::Tensor> many;
  for (int i = 0; i < 21; ++i) many.push_back({absl::StrCat("l", i, ".weight"), {2, 2}});
  EXPECT_THAT(Create(Spec({2}, {"x"}), kMerges, *MakeLayout(many)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("l19, …"), Not(HasSubstr("l20")))));
}

TEST(LoraPlanTest, AModelHoldsAnAdapterOfTheHighestRankIfTheRuleKeepsOne) {
  const PlanPtr merges = Plan(Spec({2, 4}), kMerges), keeps = Plan(Spec({2, 4}), kKeeps);
  EXPECT_EQ(merges->ordinary()->digest(), Model()->digest());
  EXPECT_EQ(merges->model()->digest(), Model()->digest());
  EXPECT_EQ(keeps->ordinary()->digest(), Model()->digest());
  EXPECT_THAT(
      Described(*keeps->model()),
      ElementsAre("fc.weight 3x5", "fc.bias 3", "conv.weight 4x2x3x3", "norm.weight 4", "table 6x2",
                  "head.weight 6x4", "fc.lora_A.weight 4x5", "fc.lora_B.weight 3x4",
                  "conv.lora_A.weight 4x18", "conv.lora_B.weight 4x4", "head.lora_A.weight 4x4",
                  "head.lora_B.weight 6x4", "mean.weight 2x2"));
}

TEST(LoraPlanTest, AnAdapterHasBothFactorsOrOne) {
  const PlanPtr plan = Plan(Spec({2, 4}, {"fc", "conv"}), kMerges);
  EXPECT_THAT(Described(*plan->AdapterLayout(2)),
              ElementsAre("fc.lora_A.weight 2x5", "fc.lora_B.weight 3x2", "conv.lora_A.weight 2x18",
                          "conv.lora_B.weight 4x2"));
  EXPECT_THAT(Described(*plan->AdapterLayout(9, AdapterFactors::kA)),
              ElementsAre("fc.lora_A.weight 9x5", "conv.lora_A.weight 9x18"));
  EXPECT_THAT(Described(*plan->AdapterLayout(1, AdapterFactors::kB)),
              ElementsAre("fc.lora_B.weight 3x1", "conv.lora_B.weight 4x1"));
  EXPECT_THAT(Described(*Plan(Spec({2}, {"fc"}), kMerges, true)->AdapterLayout(2)),
              ElementsAre("fc.lora_A.weight 2x3", "fc.lora_B.weight 5x2"))
      << "A reads the inputs, wherever they stand in the weight";
}

TEST(LoraPlanTest, TheSamePlanComesFromAModelThatHoldsItsAdapter) {
  const PlanPtr plan = Plan(Spec({4}), kKeeps);
  TRIB_ASSERT_OK_AND_ASSIGN(const PlanPtr again, Create(Spec({4}), kKeeps, *plan->model()));
  EXPECT_EQ(again->model()->digest(), plan->model()->digest());
  EXPECT_EQ(again->ordinary()->digest(), plan->ordinary()->digest());
  EXPECT_EQ(Described(*again), Described(*plan));
}

TEST(LoraPlanTest, RefusesAModelThatHoldsAnotherAdapter) {
  const LayoutPtr held = Plan(Spec({4}), kKeeps)->model();
  const auto refused =
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("adapters of other modules or ranks"));
  EXPECT_THAT(Create(Spec({3}), kKeeps, *held), refused);
  EXPECT_THAT(Create(Spec({4}, {"fc"}), kKeeps, *held), refused);
  EXPECT_THAT(Create(Spec({4}), kMerges, *held), refused);
}

TEST(LoraPlanTest, AFreshAdapterAddsNothingAndItsAFillsItsBound) {
  const PlanPtr plan = Plan(Spec({200}), kMerges);
  const ParamVector model = RandomParams(plan->model(), 1);
  const ParamVector start = plan->StartAdapter(model, 200, /*order_seed=*/5);
  for (const LoraModule& module : plan->modules()) {
    EXPECT_THAT(start.View(FactorName(module.name, 'B')), Each(0.0F));
    const auto a = start.View(FactorName(module.name, 'A'));
    const auto [least, most] = std::ranges::minmax(a);
    const double bound = 1 / std::sqrt(static_cast<double>(module.columns));
    EXPECT_GE(least, -bound * (1 + 1e-6));
    EXPECT_LE(most, bound * (1 + 1e-6));
    EXPECT_LT(least, -0.97 * bound);
    EXPECT_GT(most, 0.97 * bound);
  }
  EXPECT_THAT(plan->Merged(model, start, 200), ParamsNear(model, 0));
}

TEST(LoraPlanTest, AFreshAdapterIsTheSeedsAlone) {
  const PlanPtr plan = Plan(Spec({3}), kMerges);
  const ParamVector model = RandomParams(plan->model(), 1), other = RandomParams(plan->model(), 2);
  const ParamVector start = plan->StartAdapter(model, 3, 5);
  EXPECT_THAT(plan->StartAdapter(other, 3, 5), ParamsNear(start, 0));
  EXPECT_THAT(plan->StartAdapter(model, 3, 6), Not(ParamsNear(start, 0)));
  // A module's draws are its own: fewer targets change none.
  const PlanPtr fewer = Plan(Spec({3}, {"head"}), kMerges);
  const std::string name = FactorName("head", 'A');
  EXPECT_THAT(fewer->StartAdapter(model, 3, 5).View(name), ElementsAreArray(start.View(name)));
}

TEST(LoraPlanTest, AClientGoesOnFromTheFirstRowsOfWhatTheModelKeeps) {
  const PlanPtr plan = Plan(Spec({4, 2}), kKeeps);
  const ParamVector model = RandomParams(plan->model(), 1);
  const ParamVector start = plan->StartAdapter(model, 2, /*order_seed=*/5);
  const double scale = 8.0 / 2;
  for (const LoraModule& module : plan->modules()) {
    const auto kept_a = model.View(FactorName(module.name, 'A'));
    const auto kept_b = model.View(FactorName(module.name, 'B'));
    const auto a = start.View(FactorName(module.name, 'A'));
    const auto b = start.View(FactorName(module.name, 'B'));
    EXPECT_THAT(a, ElementsAreArray(kept_a.first(static_cast<size_t>(2 * module.columns))));
    for (size_t i = 0; i < static_cast<size_t>(module.rows); ++i) {
      for (size_t k = 0; k < 2; ++k) EXPECT_EQ(b[2 * i + k] * scale, kept_b[4 * i + k]);
    }
  }
  // All of it is worth what the model is.
  const ParamVector whole = plan->StartAdapter(model, 4, 5);
  EXPECT_THAT(plan->Merged(model, whole, 4), ParamsNear(plan->Merged(model), 1e-6));
}

TEST(LoraPlanTest, ARankBeyondWhatIsKeptBeginsFresh) {
  const PlanPtr plan = Plan(Spec({2}), kKeeps);
  const ParamVector model = RandomParams(plan->model(), 1);
  const ParamVector start = plan->StartAdapter(model, 3, 5);
  EXPECT_THAT(plan->Merged(model, start, 3), ParamsNear(plan->Merged(model), 1e-6));
  const auto a = start.View(FactorName("fc", 'A')), b = start.View(FactorName("fc", 'B'));
  EXPECT_THAT(a.first(10), ElementsAreArray(model.View(FactorName("fc", 'A'))));
  EXPECT_THAT(a.subspan(10), Not(Each(0.0F)));
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(b[3 * i + 2], 0);
}

TEST(LoraPlanTest, TheFirstModelIsTheOrdinaryOneWithAFreshAdapter) {
  const ParamVector ordinary = RandomParams(Model(), 1);
  EXPECT_THAT(Plan(Spec({4}), kMerges)->FirstModel(ordinary.Clone(), 9), ParamsNear(ordinary, 0));
  const PlanPtr plan = Plan(Spec({4}), kKeeps);
  const ParamVector first = plan->FirstModel(ordinary.Clone(), 9);
  EXPECT_EQ(first.layout()->digest(), plan->model()->digest());
  EXPECT_THAT(plan->Merged(first), ParamsNear(ordinary, 0));
  for (const LoraModule& module : plan->modules()) {
    EXPECT_THAT(first.View(FactorName(module.name, 'A')), Not(Each(0.0F)));
    EXPECT_THAT(first.View(FactorName(module.name, 'B')), Each(0.0F));
  }
  EXPECT_THAT(plan->FirstModel(ordinary.Clone(), 9), ParamsNear(first, 0));
  EXPECT_THAT(plan->FirstModel(ordinary.Clone(), 10), Not(ParamsNear(first, 0)));
  EXPECT_THAT(plan->FirstModel(first.Clone(), 10), ParamsNear(first, 0)) << "it has one";
}

TEST(LoraPlanTest, MergedAddsTheScaledProducts) {
  for (const bool transposed : {false, true}) {
    const PlanPtr plan = Plan(Spec({4, 2}, {"fc", "conv"}), kKeeps, transposed);
    const ParamVector model = RandomParams(plan->model(), 1);
    const ParamVector adapter = RandomParams(plan->AdapterLayout(2), 2);
    const ParamVector own = plan->Merged(model), clients = plan->Merged(model, adapter, 2);
    EXPECT_EQ(own.layout()->digest(), Model()->digest());
    EXPECT_EQ(clients.layout()->digest(), Model()->digest());
    for (const LoraModule& module : plan->modules()) {
      const auto expected = [&](const ParamVector& factors, double scale) {
        return Product(model.View(module.weight), module,
                       factors.View(FactorName(module.name, 'A')),
                       factors.View(FactorName(module.name, 'B')), scale);
      };
      EXPECT_THAT(own.View(module.weight), ParamsNear(expected(model, 1), 1e-5)) << module.name;
      EXPECT_THAT(clients.View(module.weight), ParamsNear(expected(adapter, 4), 1e-5))
          << module.name << ": the client's adapter in place of the model's";
    }
    for (const char* const other :
         {"fc.bias", "norm.weight", "table", "mean.weight", "head.weight"}) {
      EXPECT_THAT(own.View(other), ElementsAreArray(model.View(other)));
      EXPECT_THAT(clients.View(other), ElementsAreArray(model.View(other)));
    }
  }
}

TEST(LoraPlanTest, RsLoraDividesByTheRootOfTheRank) {
  LoraSpec spec = Spec({4}, {"fc"});
  spec.rslora = true;
  const PlanPtr plan = Plan(spec, kMerges);
  const ParamVector model = RandomParams(plan->model(), 1);
  const ParamVector adapter = RandomParams(plan->AdapterLayout(4), 2);
  EXPECT_THAT(plan->Merged(model, adapter, 4).View("fc.weight"),
              ParamsNear(Product(model.View("fc.weight"), plan->module("fc"),
                                 adapter.View("fc.lora_A.weight"), adapter.View("fc.lora_B.weight"),
                                 8.0 / 2),
                         1e-5));
}

TEST(LoraPlanTest, FactorsComeOutAsTheyArePutIn) {
  const PlanPtr plan = Plan(Spec({3}), kKeeps, /*transposed=*/true);
  const ParamVector adapter = RandomParams(plan->AdapterLayout(3), 2);
  const LowRankModel factors = plan->FactorsOf(adapter, 3);
  ASSERT_EQ(factors.size(), 3U);
  for (const LoraModule& module : plan->modules()) {
    const LowRank& x = factors.at(module.name);
    EXPECT_TRUE(IsWellFormed(x));
    EXPECT_EQ(x.rows, module.rows);
    EXPECT_EQ(x.columns, module.columns);
    EXPECT_THAT(x.a, ElementsAreArray(adapter.View(FactorName(module.name, 'A'))));
    EXPECT_THAT(x.b, ElementsAreArray(adapter.View(FactorName(module.name, 'B'))));
  }
  ParamVector put(plan->AdapterLayout(3));
  plan->PutFactors(factors, Rng(1), put);
  EXPECT_THAT(put, ParamsNear(adapter, 0));
}

TEST(LoraPlanTest, AFactorThatIsNotThereStaysEmpty) {
  const PlanPtr plan = Plan(Spec({3}), "ffa");
  const ParamVector only_b = RandomParams(plan->AdapterLayout(3, AdapterFactors::kB), 2);
  for (const auto& [name, factors] : plan->FactorsOf(only_b, 3)) {
    EXPECT_THAT(factors.a, IsEmpty());
    EXPECT_THAT(factors.b, ElementsAreArray(only_b.View(FactorName(name, 'B'))));
  }
}

TEST(LoraPlanTest, PutFactorsFillsUpWithFreshRows) {
  const PlanPtr plan = Plan(Spec({4}), kKeeps);
  ParamVector small(plan->AdapterLayout(1)), wide(plan->AdapterLayout(4));
  small = RandomParams(small.layout(), 2);
  LowRankModel factors = plan->FactorsOf(small, 1);
  factors.erase("head");  // all of it is fresh then
  plan->PutFactors(factors, Rng(1), wide);
  for (const LoraModule& module : plan->modules()) {
    const auto columns = static_cast<size_t>(module.columns);
    const size_t given = module.name == "head" ? 0 : 1;
    const auto a = wide.View(FactorName(module.name, 'A'));
    const auto b = wide.View(FactorName(module.name, 'B'));
    if (given == 1) {
      EXPECT_THAT(a.first(columns), ElementsAreArray(small.View(FactorName(module.name, 'A'))));
    }
    for (size_t k = given; k < 4; ++k) {
      EXPECT_THAT(a.subspan(k * columns, columns), Not(Each(0.0F)));
    }
    for (size_t i = 0; i < b.size(); ++i) {
      const float kept = given == 1 ? small.View(FactorName(module.name, 'B'))[i / 4] : 0;
      EXPECT_EQ(b[i], i % 4 < given ? kept : 0) << module.name;
    }
  }
}

TEST(LoraPlanTest, AddToWeightsTakesFactorsAndDenseDeltas) {
  for (const bool transposed : {false, true}) {
    const PlanPtr plan = Plan(Spec({2}), kKeeps, transposed);
    const ParamVector before = RandomParams(plan->model(), 1);
    const ParamVector adapter = RandomParams(plan->AdapterLayout(2), 2);
    const LowRankModel factors = plan->FactorsOf(adapter, 2);
    for (const bool dense : {false, true}) {
      ModelDelta delta = {{"fc", DeltaOf(factors.at("fc"), dense)},
                          {"conv", DeltaOf(factors.at("conv"), dense)}};
      ParamVector model = before.Clone();
      plan->AddToWeights(delta, model);
      for (const LoraModule& module : plan->modules()) {
        const double share = module.name == "head" ? 0 : 1;
        EXPECT_THAT(model.View(module.weight),
                    ParamsNear(Product(before.View(module.weight), module,
                                       adapter.View(FactorName(module.name, 'A')),
                                       adapter.View(FactorName(module.name, 'B')), share),
                               1e-5))
            << module.name;
      }
      EXPECT_THAT(model.View("fc.lora_A.weight"),
                  ElementsAreArray(before.View("fc.lora_A.weight")));
    }
  }
}

TEST(CopySharedTest, CopiesWhatBothHaveInTheSameSize) {
  const ParamVector from =
      RandomParams(MakeLayout({{"both", {2, 3}}, {"resized", {4}}, {"mine", {2}}}), 1);
  ParamVector to(MakeLayout({{"yours", {3}}, {"resized", {5}}, {"both", {2, 3}}}));
  CopyShared(from, to);
  EXPECT_THAT(to.View("both"), ElementsAreArray(from.View("both")));
  EXPECT_THAT(to.View("resized"), Each(0.0F));
  EXPECT_THAT(to.View("yours"), Each(0.0F));
}

}  // namespace
}  // namespace tributary
