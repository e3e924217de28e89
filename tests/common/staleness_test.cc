#include "common/staleness.h"

#include <cmath>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::DoubleNear;
using ::testing::HasSubstr;
using ::testing::Pointwise;
using ::tributary::test::StatusIs;

std::unique_ptr<StalenessFunction> Make(const std::string& name, nlohmann::json options) {
  return StalenessRegistry().Create({name, std::move(options), {}}).value();
}

std::vector<double> Table(const StalenessFunction& s, int64_t last) {
  std::vector<double> values;
  for (int64_t tau = 0; tau <= last; ++tau) values.push_back(s.At(tau));
  return values;
}

TEST(StalenessTest, PolynomialOfOneHalf) {
  const std::vector<double> expected = {1, .707107, .577350, .5, .447214, .408248, .377964};
  EXPECT_THAT(Table(*Make("polynomial", {{"exponent", 0.5}}), 6),
              Pointwise(DoubleNear(5e-7), expected));
}

// A wrong sign in the exponent would make it 2.
TEST(StalenessTest, PolynomialFallsAndIsExactWhereItCanBe) {
  EXPECT_EQ(Make("polynomial", {{"exponent", 0.5}})->At(3), 0.5);
  EXPECT_EQ(Make("polynomial", {{"exponent", 0.5}})->At(99), 0.1);
  EXPECT_EQ(Make("polynomial", {{"exponent", 0}})->At(7), 1);
}

TEST(StalenessTest, PolynomialOfAnyExponentIsAPower) {
  for (const double exponent : {0.1, 0.49, 0.9, 1.0, 2.5, 10.0}) {
    const auto s = Make("polynomial", {{"exponent", exponent}});
    for (const int64_t tau : {1, 2, 17, 1000000}) {
      const double expected = std::pow(1.0 + static_cast<double>(tau), -exponent);
      EXPECT_NEAR(s->At(tau), expected, 1e-12 * expected) << exponent << " " << tau;
    }
  }
}

TEST(StalenessTest, HingeOfThePaper) {
  const std::vector<double> expected = {1, 1, 1, 1, 1, .0909091, .0476190};
  EXPECT_THAT(Table(*Make("hinge", {{"slope", 10}, {"tolerance", 4}}), 6),
              Pointwise(DoubleNear(5e-8), expected));
}

TEST(StalenessTest, HingeWithItsDefaultsIsThePapers) {
  EXPECT_EQ(Make("hinge", nlohmann::json::object())->At(5), 1.0 / 11);
}

TEST(StalenessTest, ConstantDoesNotFall) {
  EXPECT_EQ(Make("constant", nlohmann::json::object())->At(1000000), 1.0);
}

TEST(StalenessTest, EachIsOneForAFreshUpdateAndNeverRises) {
  for (const auto& entry : StalenessRegistry().entries()) {
    const auto s = Make(entry.name, nlohmann::json::object());
    EXPECT_EQ(s->At(0), 1.0) << entry.name;
    for (int64_t tau = 1; tau < 1000; ++tau) {
      ASSERT_LE(s->At(tau), s->At(tau - 1)) << entry.name << " at " << tau;
      ASSERT_GT(s->At(tau), 0) << entry.name << " at " << tau;
    }
  }
}

TEST(StalenessTest, DefaultsForOptionStructsAreComplete) {
  for (const config::Choice& choice : {ConstantStaleness(), PolynomialStaleness()}) {
    bool known = false;
    for (const auto& entry : StalenessRegistry().entries()) {
      if (entry.name != choice.name) continue;
      known = true;
      EXPECT_EQ(choice.options, entry.schema->Defaults());
    }
    EXPECT_TRUE(known) << choice.name;
  }
}

TEST(StalenessTest, RefusesOptionsOutOfRange) {
  const std::vector<std::tuple<const char*, const char*, double>> bad = {
      {"polynomial", "exponent", -0.5},
      {"polynomial", "exponent", 10.5},
      {"hinge", "slope", -1},
      {"hinge", "tolerance", -1},
      {"constant", "exponent", 1}};
  for (const auto& [name, field, value] : bad) {
    EXPECT_THAT(StalenessRegistry().Create({name, {{field, value}}, {}}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
  EXPECT_THAT(StalenessRegistry().Create({"polynomal", {}, {}}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("polynomial")));
}

}  // namespace
}  // namespace tributary
