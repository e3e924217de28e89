#include "client_sdk/torch/local_optimizer.h"

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::ParamsNear;
using test::StatusIs;
using ::testing::HasSubstr;

config::Choice Choose(const std::string& name, nlohmann::json options) {
  config::Choice choice;
  choice.name = name;
  choice.options = std::move(options);
  return choice;
}

// One coordinate of an optimizer as its paper has it, in double: (g, w, t) -> w.
using Oracle = std::function<double(double g, double w, int t)>;

// Five steps with random gradients, in pieces of 3 and 4, against one oracle a coordinate.
void ExpectFollows(const config::Choice& choice, const std::function<Oracle()>& make_oracle) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto optimizer, LocalOptimizer::Create(choice));
  Rng rng(1);
  std::vector<float> params(7);
  for (float& value : params) value = static_cast<float>(rng.Normal());
  std::vector<double> expected(params.begin(), params.end());
  std::vector<Oracle> oracles;
  for (size_t i = 0; i < params.size(); ++i) oracles.push_back(make_oracle());
  for (int t = 1; t <= 5; ++t) {
    std::vector<float> gradient(7);
    for (float& value : gradient) value = static_cast<float>(rng.Normal());
    const absl::Span<const float> whole(gradient);
    optimizer->Step({whole.first(3), whole.subspan(3)}, absl::MakeSpan(params));
    for (size_t i = 0; i < params.size(); ++i) {
      expected[i] = oracles[i](gradient[i], expected[i], t);
    }
    EXPECT_THAT(absl::MakeConstSpan(params),
                ParamsNear(std::vector<float>(expected.begin(), expected.end()), 2e-6))
        << "step " << t;
  }
}

TEST(LocalOptimizerTest, PlainSgd) {
  ExpectFollows(Choose("sgd", {{"learning_rate", 0.1}}),
                [] { return [](double g, double w, int) { return w - 0.1 * g; }; });
}

// Halfway through, the rate is doubled: as if the options had said so, whatever was remembered.
TEST(LocalOptimizerTest, ARateFactorIsTheOptionsRateTimesIt) {
  for (const char* name : {"sgd", "adam", "adamw"}) {
    const auto walk = [name](double rate, double factor) {
      const auto optimizer =
          LocalOptimizer::Create(Choose(name, {{"learning_rate", rate}, {"weight_decay", 0.125}}))
              .value();
      optimizer->SetRateFactor(factor);
      EXPECT_EQ(optimizer->learning_rate(), rate * factor);
      std::vector<float> params = {1, -2};
      for (const std::vector<float>& gradient : {std::vector<float>{1, 2}, {-3, 1}}) {
        const absl::Span<const float> whole(gradient);
        optimizer->Step({whole}, absl::MakeSpan(params));
      }
      return params;
    };
    EXPECT_EQ(walk(0.25, 2), walk(0.5, 1)) << name;
    EXPECT_NE(walk(0.25, 2), walk(0.25, 1)) << name;
  }
}

TEST(LocalOptimizerTest, SgdWithWeightDecay) {
  ExpectFollows(Choose("sgd", {{"learning_rate", 0.1}, {"weight_decay", 0.2}}),
                [] { return [](double g, double w, int) { return w - 0.1 * (g + 0.2 * w); }; });
}

TEST(LocalOptimizerTest, SgdWithMomentumAndWeightDecay) {
  ExpectFollows(Choose("sgd", {{"learning_rate", 0.1}, {"momentum", 0.9}, {"weight_decay", 0.2}}),
                [] {
                  return [v = 0.0](double g, double w, int) mutable {
                    v = 0.9 * v + g + 0.2 * w;
                    return w - 0.1 * v;
                  };
                });
}

Oracle AdamOracle(double added_decay, double decoupled_decay) {
  return [=, m = 0.0, s = 0.0](double g, double w, int t) mutable {
    w -= 0.01 * decoupled_decay * w;
    g += added_decay * w;
    m = 0.8 * m + 0.2 * g;
    s = 0.95 * s + 0.05 * g * g;
    const double mean = m / (1 - std::pow(0.8, t));
    const double square = s / (1 - std::pow(0.95, t));
    return w - 0.01 * mean / (std::sqrt(square) + 1e-3);
  };
}

const nlohmann::json kAdamOptions = {{"learning_rate", 0.01},
                                     {"beta1", 0.8},
                                     {"beta2", 0.95},
                                     {"epsilon", 1e-3},
                                     {"weight_decay", 0.3}};

TEST(LocalOptimizerTest, AdamAddsItsDecayToTheGradient) {
  ExpectFollows(Choose("adam", kAdamOptions), [] { return AdamOracle(0.3, 0); });
}

TEST(LocalOptimizerTest, AdamWDecaysTheWeights) {
  ExpectFollows(Choose("adamw", kAdamOptions), [] { return AdamOracle(0, 0.3); });
}

// Whatever the gradient's size, Adam's first step is about the learning rate.
TEST(LocalOptimizerTest, AdamsFirstStepIsTheLearningRate) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto optimizer,
                            LocalOptimizer::Create(Choose("adam", {{"learning_rate", 0.01}})));
  std::vector<float> params = {0, 0};
  const std::vector<float> gradient = {1000, -0.001F};
  optimizer->Step({absl::MakeConstSpan(gradient)}, absl::MakeSpan(params));
  EXPECT_THAT(absl::MakeConstSpan(params), ParamsNear({-0.01F, 0.01F}, 1e-6));
  EXPECT_EQ(optimizer->learning_rate(), 0.01);
}

TEST(LocalOptimizerTest, ProximalPullsTowardsTheStart) {
  std::vector<float> gradient = {1, 1};
  AddProximal(0.5F, {3, 1}, {1, 1}, absl::MakeSpan(gradient));
  EXPECT_THAT(absl::MakeConstSpan(gradient), ParamsNear({2, 1}, 0));
}

TEST(LocalOptimizerTest, BadChoices) {
  EXPECT_THAT(LocalOptimizer::Create(Choose("lion", nlohmann::json::object())),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sgd, adam, adamw")));
  EXPECT_THAT(LocalOptimizer::Create(Choose("sgd", {{"learning_rate", 0}})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("learning_rate")));
}

}  // namespace
}  // namespace tributary
