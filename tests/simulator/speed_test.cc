#include "simulator/speed.h"

#include <cmath>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace tributary {
namespace {

std::unique_ptr<SpeedModel> Make(const std::string& name, nlohmann::json options) {
  auto made = SpeedRegistry().Create({.name = name, .options = std::move(options)});
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

TEST(Speed, ConstantGivesEveryClientTheSame) {
  const auto speed = Make("constant", {{"mean_seconds_per_step", 0.25}});
  Rng rng(1);
  EXPECT_EQ(speed->DrawStepTime(rng), absl::Milliseconds(250));
  EXPECT_EQ(speed->DrawJitter(rng), 1.0);
}

TEST(Speed, NormalHasItsMeanAndSpreadAndIsNeverNegative) {
  const auto speed = Make("normal", {{"mean_seconds_per_step", 2.0}, {"relative_stddev", 0.2}});
  const Rng root(5);
  constexpr int kDraws = 4000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    Rng rng = root.Split(static_cast<uint64_t>(i));
    const double t = absl::ToDoubleSeconds(speed->DrawStepTime(rng));
    sum += t;
    squares += t * t;
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(mean, 2.0, 5 * 0.4 / std::sqrt(kDraws));
  EXPECT_NEAR(std::sqrt(squares / kDraws - mean * mean), 0.4, 0.03);

  const auto wide = Make("normal", {{"mean_seconds_per_step", 1.0}, {"relative_stddev", 2.0}});
  for (int i = 0; i < 1000; ++i) {
    Rng rng = root.Split(static_cast<uint64_t>(i));
    EXPECT_GE(wide->DrawStepTime(rng), absl::Milliseconds(50));
  }
}

TEST(Speed, JitterVariesAroundOne) {
  const auto speed = Make("constant", {{"mean_seconds_per_step", 1.0}, {"jitter", 0.1}});
  Rng rng(3);
  double sum = 0;
  for (int i = 0; i < 2000; ++i) {
    const double factor = speed->DrawJitter(rng);
    EXPECT_GT(factor, 0);
    sum += factor;
  }
  EXPECT_NEAR(sum / 2000, 1.0, 5 * 0.1 / std::sqrt(2000.0));
}

TEST(Speed, RefusesATimeThatIsNotPositive) {
  EXPECT_FALSE(
      SpeedRegistry().Create({.name = "constant", .options = {{"mean_seconds_per_step", 0}}}).ok());
  EXPECT_FALSE(SpeedRegistry().Create({.name = "warp", .options = nlohmann::json::object()}).ok());
}

}  // namespace
}  // namespace tributary
