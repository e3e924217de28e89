#include "simulator/speed.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::StatusIs;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Le;

constexpr int64_t kClients = 20000;

std::unique_ptr<SpeedModel> Make(const std::string& name, nlohmann::json options,
                                 int64_t clients = kClients) {
  auto made =
      SpeedRegistry().Create({.name = name, .options = std::move(options)}, clients, Rng(5));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

std::vector<double> Times(const SpeedModel& speed, int64_t clients = kClients) {
  std::vector<double> times;
  for (int64_t i = 0; i < clients; ++i) times.push_back(absl::ToDoubleSeconds(speed.StepTime(i)));
  return times;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

double Stddev(const std::vector<double>& values) {
  const double mean = Mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

double ShareBelow(const std::vector<double>& values, double bound) {
  return static_cast<double>(std::ranges::count_if(values, [&](double v) { return v < bound; })) /
         static_cast<double>(values.size());
}

// Five standard errors of a mean over kClients draws.
double Tolerance(double stddev) { return 5 * stddev / std::sqrt(static_cast<double>(kClients)); }

TEST(Speed, ConstantGivesEveryClientTheSame) {
  const auto speed = Make("constant", {{"mean_seconds_per_step", 0.25}});
  EXPECT_EQ(speed->StepTime(0), absl::Milliseconds(250));
  EXPECT_EQ(speed->StepTime(kClients - 1), absl::Milliseconds(250));
  Rng rng(1);
  EXPECT_EQ(speed->DrawJitter(rng), 1.0);
}

TEST(Speed, NormalHasItsMeanAndSpreadAndIsNeverNegative) {
  const auto times =
      Times(*Make("normal", {{"mean_seconds_per_step", 2.0}, {"relative_stddev", 0.2}}));
  EXPECT_NEAR(Mean(times), 2.0, Tolerance(0.4));
  EXPECT_NEAR(Stddev(times), 0.4, 0.02);
  EXPECT_NEAR(ShareBelow(times, 2.0), 0.5, Tolerance(0.5));
  EXPECT_THAT(Times(*Make("normal", {{"mean_seconds_per_step", 1.0}, {"relative_stddev", 2.0}})),
              Each(Ge(0.05)));
}

// Clipped at c = 5 % of the mean: E max(X, c) = m (c + e^-c), P(X < x) = 1 - e^(-x/m) above c.
TEST(Speed, ExponentialHasItsMeanAndItsTailAndALeast) {
  const auto times = Times(*Make("exponential", {{"mean_seconds_per_step", 2.0}}));
  EXPECT_NEAR(Mean(times), 2 * (0.05 + std::exp(-0.05)), Tolerance(2.0));
  EXPECT_THAT(times, Each(Ge(0.1)));
  EXPECT_NEAR(static_cast<double>(std::ranges::count(times, 0.1)) / kClients, 1 - std::exp(-0.05),
              Tolerance(0.22));
  for (const double x : {0.5, 2.0, 6.0}) {
    EXPECT_NEAR(ShareBelow(times, x), 1 - std::exp(-x / 2), Tolerance(0.5)) << x;
  }
}

// ln X ~ N(ln m - s²/2, s²): mean m, median m e^(-s²/2), standard deviation m √(e^(s²) - 1).
TEST(Speed, LognormalKeepsItsMean) {
  const auto times = Times(*Make("lognormal", {{"mean_seconds_per_step", 3.0}, {"sigma", 0.8}}));
  const double stddev = 3 * std::sqrt(std::exp(0.64) - 1);
  EXPECT_NEAR(Mean(times), 3.0, Tolerance(stddev));
  EXPECT_NEAR(ShareBelow(times, 3 * std::exp(-0.32)), 0.5, Tolerance(0.5));
  std::vector<double> logs;
  for (const double t : times) logs.push_back(std::log(t));
  EXPECT_NEAR(Stddev(logs), 0.8, 0.03);
}

TEST(Speed, UniformStaysWithinItsRatio) {
  const auto times = Times(*Make("uniform", {{"mean_seconds_per_step", 1.5}, {"ratio", 5}}));
  EXPECT_THAT(times, Each(AllOf(Ge(0.5), Le(2.5))));
  const auto [least, most] = std::ranges::minmax(times);
  EXPECT_LT(least, 0.51);
  EXPECT_GT(most, 2.49);
  EXPECT_NEAR(Mean(times), 1.5, Tolerance(2.0 / std::sqrt(12.0)));
  EXPECT_NEAR(Stddev(times), 2.0 / std::sqrt(12.0), 0.02);
}

TEST(Speed, TraceIsReadByClient) {
  const test::TempDir dir;
  const std::string path = dir.Write("speeds.csv", "seconds_per_step\n0.5\n0.25\n4\n");
  const auto speed = Make("trace", {{"path", path}}, 2);  // one more line than clients
  EXPECT_EQ(speed->StepTime(0), absl::Milliseconds(500));
  EXPECT_EQ(speed->StepTime(1), absl::Milliseconds(250));
  EXPECT_THAT(SpeedRegistry().Create({.name = "trace", .options = {{"path", path}}}, 4, Rng(1)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("speeds.csv: no line for client 3; allowed: a line for each of "
                                 "the clients 0 to 3")));
}

class EverySpeedTest : public ::testing::TestWithParam<std::string> {};

TEST_P(EverySpeedTest, AClientsTimeDependsOnTheSeedAndTheClientAlone) {
  const test::TempDir dir;
  nlohmann::json options = {{"jitter", 0.1}};
  if (GetParam() == "trace") {
    options["path"] = dir.Write("speeds.csv", "client,seconds_per_step\n2,3\n1,2\n0,1\n");
  }
  const auto three = Make(GetParam(), options, 3);
  const auto one = Make(GetParam(), options, 1);
  EXPECT_EQ(three->StepTime(0), one->StepTime(0));
  EXPECT_EQ(three->StepTime(2), three->StepTime(2));
  EXPECT_EQ(three->StepTime(0) == three->StepTime(1), GetParam() == "constant");
}

TEST_P(EverySpeedTest, JitterVariesAroundOne) {
  const test::TempDir dir;
  nlohmann::json options = {{"jitter", 0.1}};
  if (GetParam() == "trace") options["path"] = dir.Write("speeds.csv", "seconds_per_step\n1\n");
  const auto speed = Make(GetParam(), options, 1);
  Rng rng(3);
  std::vector<double> factors;
  for (int i = 0; i < 2000; ++i) factors.push_back(speed->DrawJitter(rng));
  EXPECT_THAT(factors, Each(Ge(0.05)));
  EXPECT_NEAR(Mean(factors), 1.0, 5 * 0.1 / std::sqrt(2000.0));
  EXPECT_NEAR(Stddev(factors), 0.1, 0.01);
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& entry : SpeedRegistry().entries()) names.push_back(entry.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Registry, EverySpeedTest, ::testing::ValuesIn(Names()),
                         [](const auto& row) { return row.param; });

TEST(Speed, RefusesWhatCannotBe) {
  const auto create = [](const std::string& name, nlohmann::json options) {
    return SpeedRegistry().Create({.name = name, .options = std::move(options)}, 1, Rng(1));
  };
  for (const auto& [name, options] : std::vector<std::pair<std::string, nlohmann::json>>{
           {"constant", {{"mean_seconds_per_step", 0}}},
           {"exponential", {{"mean_seconds_per_step", -1}}},
           {"lognormal", {{"sigma", -0.1}}},
           {"uniform", {{"ratio", 0.5}}},
           {"normal", {{"jitter", 1.5}}},
           {"trace", nlohmann::json::object()}}) {
    EXPECT_THAT(create(name, options), StatusIs(absl::StatusCode::kInvalidArgument)) << name;
  }
  EXPECT_THAT(create("warp", nlohmann::json::object()), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace tributary
