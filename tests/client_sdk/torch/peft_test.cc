#include "client_sdk/torch/peft.h"

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/torch/torch_include.h"
#include "common/params/safetensors.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/safetensors_header.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::MakeLayout;
using test::ParamsNear;
using test::RandomParams;
using test::StatusIs;
using test::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Code = absl::StatusCode;
using Tensors = std::vector<ParamLayout::Tensor>;

at::Tensor View(const ParamVector& params, const std::string& name) {
  auto* data = const_cast<float*>(params.View(name).data());
  return at::from_blob(data, params.layout()->Find(name)->shape);
}

// A linear layer, a convolution, a norm and a buffer.
const Tensors& Ordinary() {
  static const auto* const tensors = new Tensors{{"fc.weight", {5, 7}},
                                                 {"fc.bias", {5}},
                                                 {"conv.weight", {6, 2, 3, 3}},
                                                 {"bn.mean", {6}, TensorKind::kBuffer}};
  return *tensors;
}
Tensors With(Tensors more) {
  Tensors tensors = Ordinary();
  tensors.insert(tensors.end(), more.begin(), more.end());
  return tensors;
}
const Tensors& Factors() {
  static const auto* const tensors = new Tensors{{"fc.lora_A.weight", {2, 7}},
                                                 {"fc.lora_B.weight", {5, 2}},
                                                 {"conv.lora_A.weight", {2, 18}},
                                                 {"conv.lora_B.weight", {6, 2}}};
  return *tensors;
}

// ---- what a model holds ----------------------------------------------------------------

TEST(AdaptersOfTest, MergesAndTakesOutWhatIsThere) {
  const ParamVector model = RandomParams(MakeLayout(With(Factors())), 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const HeldAdapters held, AdaptersOf(model, /*transposed=*/false));
  EXPECT_EQ(held.merged.layout()->digest(), MakeLayout(Ordinary())->digest());
  const auto product = [&](const std::string& module) {
    return View(model, module + ".lora_B.weight")
        .to(at::kDouble)
        .mm(View(model, module + ".lora_A.weight").to(at::kDouble));
  };
  EXPECT_TRUE(at::allclose(View(held.merged, "fc.weight").to(at::kDouble),
                           View(model, "fc.weight") + product("fc"), 0, 1e-6));
  EXPECT_TRUE(at::allclose(View(held.merged, "conv.weight").to(at::kDouble),
                           View(model, "conv.weight") + product("conv").view({6, 2, 3, 3}), 0,
                           1e-6));
  EXPECT_THAT(held.merged.View("fc.bias"), ParamsNear(model.View("fc.bias"), 0));
  EXPECT_THAT(held.merged.View("bn.mean"), ParamsNear(model.View("bn.mean"), 0));
  ASSERT_EQ(held.adapters.size(), 2u);
  EXPECT_EQ(held.adapters[0].module.name, "fc");
  EXPECT_THAT(held.adapters[0].factors.a, ParamsNear(model.View("fc.lora_A.weight"), 0));
  EXPECT_THAT(held.adapters[1].factors.b, ParamsNear(model.View("conv.lora_B.weight"), 0));
  EXPECT_THAT(held.adapters[1].weight_shape, ElementsAre(6, 2, 3, 3));
}

TEST(AdaptersOfTest, OfATransposedWeightTheProductIsTransposed) {
  const ParamVector model = RandomParams(
      MakeLayout(
          {{"fc.weight", {7, 5}}, {"fc.lora_A.weight", {2, 7}}, {"fc.lora_B.weight", {5, 2}}}),
      1);
  TRIB_ASSERT_OK_AND_ASSIGN(const HeldAdapters held, AdaptersOf(model, /*transposed=*/true));
  const at::Tensor product = View(model, "fc.lora_B.weight").mm(View(model, "fc.lora_A.weight"));
  EXPECT_TRUE(at::allclose(View(held.merged, "fc.weight"), View(model, "fc.weight") + product.t(),
                           0, 1e-5));
}

TEST(AdaptersOfTest, AModelWithoutIsItsOwnCopy) {
  const ParamVector model = RandomParams(MakeLayout(Ordinary()), 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const HeldAdapters held, AdaptersOf(model, /*transposed=*/false));
  EXPECT_THAT(held.adapters, IsEmpty());
  EXPECT_EQ(held.merged.layout()->digest(), model.layout()->digest());
  EXPECT_EQ(held.merged.ComputeDigest(), model.ComputeDigest());
}

TEST(AdaptersOfTest, NamesWhatDoesNotFit) {
  const struct {
    Tensors factors;
    const char* message;
  } kBad[] = {
      {{{"fc.lora_A.weight", {2, 7}}}, "tensor 'fc.lora_B.weight' is missing"},
      {{{"fc.lora_B.weight", {5, 2}}}, "tensor 'fc.lora_B.weight' is none of the model's"},
      {{{"fc.lora_A.weight", {2, 5}}, {"fc.lora_B.weight", {7, 2}}},
       "tensor 'fc.lora_A.weight' has the shape (2, 5); allowed: (2, 7)"},
      {{{"fc.lora_A.weight", {2, 7}}, {"fc.lora_B.weight", {5, 3}}},
       "tensor 'fc.lora_B.weight' has the shape (5, 3); allowed: (5, 2)"},
      {{{"fc.lora_A.weight", {2, 7}},
        {"fc.lora_B.weight", {5, 2}},
        {"conv.lora_A.weight", {3, 18}},
        {"conv.lora_B.weight", {6, 3}}},
       "tensor 'conv.lora_A.weight' has the shape (3, 18); allowed: (2, 18)"},
      {{{"fc.lora_A.weight", {0, 7}}, {"fc.lora_B.weight", {5, 0}}},
       "tensor 'fc.lora_A.weight' has the shape (0, 7); allowed: (1, 7)"},
      {{{"fc.lora_A.weight", {2, 7}},
        {"fc.lora_B.weight", {5, 2}},
        {"gone.lora_A.weight", {2, 3}},
        {"gone.lora_B.weight", {3, 2}}},
       "tensor 'gone.lora_A.weight' is none of the model's"},
  };
  for (const auto& bad : kBad) {
    EXPECT_THAT(AdaptersOf(ParamVector(MakeLayout(With(bad.factors))), /*transposed=*/false),
                StatusIs(Code::kInvalidArgument, HasSubstr(bad.message)));
  }
}

// ---- what a difference makes -----------------------------------------------------------

// weight += Σ sigma_i·u_i·v_iᵀ with orthonormal u_i and v_i, which are axes: entry (i, i + 1).
void AddKnown(absl::Span<float> weight, size_t columns, std::vector<float> sigma) {
  for (size_t i = 0; i < sigma.size(); ++i) weight[i * columns + i + 1] += sigma[i];
}

TEST(FactorDifferenceTest, KeepsTheLargestSingularValues) {
  const ParamVector base(MakeLayout(Ordinary()));
  ParamVector model = base.Clone();
  AddKnown(model.View("fc.weight"), 7, {1, 3, 2});
  AddKnown(model.View("conv.weight"), 18, {4});
  TRIB_ASSERT_OK_AND_ASSIGN(const FactoredDifference difference,
                            FactorDifference(model, base, {.rank = 2}));
  ASSERT_EQ(difference.adapters.size(), 2u);
  EXPECT_THAT(difference.kept, ElementsAre(::testing::DoubleNear(13.0 / 14, 1e-12),
                                           ::testing::DoubleNear(1, 1e-12)));
  EXPECT_NEAR(difference.kept_of_all, 29.0 / 30, 1e-12);
  EXPECT_THAT(difference.left_out, IsEmpty());
  std::vector<float> product(35);
  AddProduct(difference.adapters[0].factors, absl::MakeSpan(product));
  std::vector<float> expected(35);
  AddKnown(absl::MakeSpan(expected), 7, {0, 3, 2});
  EXPECT_THAT(absl::MakeConstSpan(product), ParamsNear(expected, 1e-6));
}

TEST(FactorDifferenceTest, TheRankOfTheDifferenceGivesTheModelBack) {
  for (const bool transposed : {false, true}) {
    const ParamVector base = RandomParams(MakeLayout(Ordinary()), 1);
    ParamVector model = base.Clone();
    const int64_t rows = transposed ? 7 : 5;
    for (const auto& [name, m, n] :
         {std::tuple("fc", rows, 12 - rows), std::tuple("conv", int64_t{6}, int64_t{18})}) {
      const ParamVector factors = RandomParams(MakeLayout({{"b", {m, 2}}, {"a", {2, n}}}), 3, 0.5F);
      LowRank change{.rows = m, .columns = n, .rank = 2};
      change.b.assign(factors.View("b").begin(), factors.View("b").end());
      change.a.assign(factors.View("a").begin(), factors.View("a").end());
      AddProduct(change, model.View(absl::StrCat(name, ".weight")), transposed && m == rows);
    }
    TRIB_ASSERT_OK_AND_ASSIGN(const FactoredDifference difference,
                              FactorDifference(model, base, {.rank = 2, .transposed = transposed}));
    EXPECT_NEAR(difference.kept_of_all, 1, 1e-9);
    ParamVector again = base.Clone();
    for (const ModuleAdapter& adapter : difference.adapters) {
      EXPECT_EQ(adapter.module.transposed, transposed && adapter.module.name == "fc");
      AddProduct(adapter.factors, again.View(adapter.module.weight), adapter.module.transposed);
    }
    EXPECT_THAT(again, ParamsNear(model, 2e-6));
  }
}

// Of the same rank, none of those around are nearer.
TEST(FactorDifferenceTest, NothingOfTheRankComesNearer) {
  const ParamVector base(MakeLayout({{"fc.weight", {5, 7}}}));
  const ParamVector model = RandomParams(base.layout(), 9);
  TRIB_ASSERT_OK_AND_ASSIGN(const FactoredDifference difference,
                            FactorDifference(model, base, {.rank = 3}));
  const LowRank& best = difference.adapters[0].factors;
  const auto error = [&](const LowRank& factors) {
    ParamVector rest = model.Clone();
    LowRank minus = factors;
    Multiply(-1, absl::MakeSpan(minus.b));
    AddProduct(minus, rest.View("fc.weight"));
    return SquaredNorm(rest.values());
  };
  const double all = SquaredNorm(model.values());
  EXPECT_NEAR(error(best), all * (1 - difference.kept[0]), 1e-5 * all);
  Rng rng(4);
  for (int i = 0; i < 50; ++i) {
    LowRank other = best;
    for (float& value : other.a) value += static_cast<float>(0.02 * rng.Normal());
    for (float& value : other.b) value += static_cast<float>(0.02 * rng.Normal());
    EXPECT_GT(error(other), error(best));
  }
}

TEST(FactorDifferenceTest, TellsWhatItLeavesOut) {
  const LayoutPtr layout = MakeLayout(With({{"wte.weight", {4, 3}}, {"same.weight", {2, 2}}}));
  const ParamVector base(layout);
  ParamVector model = base.Clone();
  for (const char* name : {"fc.weight", "fc.bias", "wte.weight", "bn.mean", "conv.weight"}) {
    model.View(name)[0] = 1;
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const FactoredDifference all,
                            FactorDifference(model, base, {.rank = 1}));
  EXPECT_EQ(all.adapters.size(), 2u);
  EXPECT_THAT(all.left_out, ElementsAre("fc.bias", "wte.weight", "bn.mean"));
  EXPECT_NEAR(all.kept_of_all, 0.5, 1e-9) << "of four trainable values, two";
  TRIB_ASSERT_OK_AND_ASSIGN(const FactoredDifference some,
                            FactorDifference(model, base, {.rank = 1, .targets = {"f?"}}));
  ASSERT_EQ(some.adapters.size(), 1u);
  EXPECT_EQ(some.adapters[0].module.name, "fc");
  EXPECT_THAT(some.left_out, ::testing::Contains("conv.weight"));
  EXPECT_NEAR(some.kept_of_all, 0.25, 1e-9);
}

TEST(FactorDifferenceTest, RefusesWithTheReason) {
  const ParamVector base(MakeLayout(Ordinary()));
  const ParamVector model = RandomParams(base.layout(), 1);
  const auto refused = [](const ParamVector& x, const ParamVector& y, FactorOptions options,
                          const char* why) {
    EXPECT_THAT(FactorDifference(x, y, options), StatusIs(Code::kInvalidArgument, HasSubstr(why)));
  };
  refused(model, base, {.rank = 6},
          "rank is 6; allowed: 1 to 5, the smaller side of the weight of 'fc'");
  refused(model, base, {.rank = 0}, "rank is 0; allowed: 1 to 5");
  refused(model, base, {.rank = 1, .targets = {"q_proj"}}, "[q_proj] match no module");
  refused(model, model, {.rank = 1}, "the model is the base");
  refused(model, ParamVector(test::TinyLayout()), {.rank = 1},
          "the base: tensor 'fc.weight' has the shape (2, 3); allowed: (5, 7)");
  ParamVector bias = base.Clone();
  bias.View("fc.bias")[0] = 1;
  refused(bias, base, {.rank = 1}, "what differs: 'fc.bias'");
}

// ---- PEFT's folder ---------------------------------------------------------------------

nlohmann::json Config(const TempDir& dir) {
  return nlohmann::json::parse(test::ReadFile(dir.File("adapter_config.json")));
}

TEST(WritePeftFolderTest, NamesAndShapesAreThoseOfPeft) {
  const TempDir dir;
  const ParamVector model = RandomParams(MakeLayout(With(Factors())), 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const HeldAdapters held, AdaptersOf(model, /*transposed=*/false));
  ASSERT_THAT(WritePeftFolder(held.adapters, {}, dir.path()), test::IsOk());
  const std::string file = dir.File("adapter_model.safetensors");
  nlohmann::json header = test::ReadSafetensorsHeader(file);
  EXPECT_EQ(header["__metadata__"], nlohmann::json({{"format", "pt"}}));
  const auto shape = [&](const char* name) {
    return header["base_model.model." + std::string(name)]["shape"];
  };
  EXPECT_EQ(header.size(), 5u);
  EXPECT_EQ(shape("fc.lora_A.weight"), nlohmann::json({2, 7}));
  EXPECT_EQ(shape("fc.lora_B.weight"), nlohmann::json({5, 2}));
  EXPECT_EQ(shape("conv.lora_A.weight"), nlohmann::json({2, 2, 3, 3}));
  EXPECT_EQ(shape("conv.lora_B.weight"), nlohmann::json({6, 2, 1, 1}));
  EXPECT_EQ(Config(dir), nlohmann::json::parse(R"({
    "peft_type": "LORA", "task_type": null, "base_model_name_or_path": "", "r": 2,
    "lora_alpha": 2, "lora_dropout": 0.0, "target_modules": ["fc", "conv"],
    "fan_in_fan_out": false, "bias": "none", "inference_mode": true})"));
}

TEST(WritePeftFolderTest, NamesTheModulesOfALanguageModel) {
  const TempDir dir;
  const std::string module = "h.0.attn.c_attn";
  const ParamVector model = RandomParams(MakeLayout({{module + ".weight", {4, 12}},
                                                     {module + ".lora_A.weight", {1, 4}},
                                                     {module + ".lora_B.weight", {12, 1}}}),
                                         1);
  TRIB_ASSERT_OK_AND_ASSIGN(const HeldAdapters held, AdaptersOf(model, /*transposed=*/true));
  const PeftTerms terms{.prefix = "transformer.",
                        .language_model = true,
                        .fan_in_fan_out = true,
                        .base_name = "my/gpt2"};
  ASSERT_THAT(WritePeftFolder(held.adapters, terms, dir.path()), test::IsOk());
  const nlohmann::json header = test::ReadSafetensorsHeader(dir.File("adapter_model.safetensors"));
  EXPECT_TRUE(header.contains("base_model.model.transformer.h.0.attn.c_attn.lora_A.weight"));
  EXPECT_TRUE(header.contains("base_model.model.transformer.h.0.attn.c_attn.lora_B.weight"));
  const nlohmann::json config = Config(dir);
  EXPECT_EQ(config["target_modules"], nlohmann::json({"transformer.h.0.attn.c_attn"}));
  EXPECT_EQ(config["task_type"], "CAUSAL_LM");
  EXPECT_EQ(config["fan_in_fan_out"], true);
  EXPECT_EQ(config["base_model_name_or_path"], "my/gpt2");
}

// As PEFT works with the file: y = W(x) + (lora_alpha/r)·lora_B(lora_A(x)), both of them layers of
// the kind of W, lora_A with its stride and padding.
TEST(WritePeftFolderTest, WorkedWithAsPeftDoesItGivesTheMergedModel) {
  const TempDir dir;
  const ParamVector model = RandomParams(MakeLayout(With(Factors())), 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const HeldAdapters held, AdaptersOf(model, /*transposed=*/false));
  ASSERT_THAT(WritePeftFolder(held.adapters, {}, dir.path()), test::IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector file,
                            ReadSafetensors(dir.File("adapter_model.safetensors")));
  const nlohmann::json config = Config(dir);
  const double scale = config["lora_alpha"].get<double>() / config["r"].get<double>();
  const auto factor = [&](const char* name) {
    return View(file, std::string("base_model.model.") + name);
  };
  const ParamVector inputs = RandomParams(MakeLayout({{"x", {4, 7}}, {"image", {4, 2, 8, 9}}}), 5);
  const at::Tensor x = View(inputs, "x"), image = View(inputs, "image");
  EXPECT_TRUE(at::allclose(
      at::linear(x, View(model, "fc.weight")) +
          scale * at::linear(at::linear(x, factor("fc.lora_A.weight")), factor("fc.lora_B.weight")),
      at::linear(x, View(held.merged, "fc.weight")), 1e-4, 1e-4));
  const auto conv = [&](const at::Tensor& weight) {
    return at::conv2d(image, weight, {}, /*stride=*/2, /*padding=*/1);
  };
  EXPECT_TRUE(at::allclose(
      conv(View(model, "conv.weight")) +
          scale * at::conv2d(conv(factor("conv.lora_A.weight")), factor("conv.lora_B.weight")),
      conv(View(held.merged, "conv.weight")), 1e-4, 1e-4));
}

}  // namespace
}  // namespace tributary
