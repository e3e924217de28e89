#include "common/codec/randk.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

SelectionDomain DomainOf(size_t size, uint64_t seed) {
  return {.size = size, .tensor_ends = {size}, .rng = Rng(seed)};
}

Positions Select(const SelectionSize& options, const SelectionDomain& domain) {
  const auto randk = RandkSelector::Create(options).value();
  std::string bytes;
  Positions positions = randk->Select(std::vector<float>(domain.size), domain, bytes);
  EXPECT_THAT(bytes, IsEmpty());
  absl::string_view rest = "what follows";
  EXPECT_THAT(randk->Read(rest, domain), IsOkAndHolds(positions));
  EXPECT_EQ(rest, "what follows");
  return positions;
}

TEST(RandkTest, ChoosesSoManyEachOnce) {
  for (size_t size = 0; size < 140; ++size) {
    for (size_t count = 1; count <= size + 1; ++count) {
      const Positions positions =
          Select({.count = static_cast<int64_t>(count)}, DomainOf(size, 200 * size + count));
      ASSERT_EQ(positions.size(), std::min(count, size));
      ASSERT_EQ(std::adjacent_find(positions.begin(), positions.end(), std::greater_equal<>()),
                positions.end());
      ASSERT_TRUE(positions.empty() || positions.back() < size);
    }
  }
  EXPECT_EQ(Select({.fraction = 0.03}, DomainOf(1'000'000, 1)).size(), 30'000);
}

// Both ends must go on drawing these.
TEST(RandkTest, GoldenChoice) {
  EXPECT_THAT(Select({.count = 5}, DomainOf(1'000, 1)), ElementsAre(53, 323, 371, 390, 433));
}

TEST(RandkTest, TheChoiceIsTheSeeds) {
  const Positions positions = Select({.count = 50}, DomainOf(1'000, 1));
  EXPECT_EQ(Select({.count = 50}, DomainOf(1'000, 1)), positions);
  EXPECT_NE(Select({.count = 50}, DomainOf(1'000, 2)), positions);
}

TEST(RandkTest, EachSetIsEquallyLikely) {
  constexpr int kDraws = 20'000;
  std::map<Positions, int> drawn;
  for (uint64_t seed = 0; seed < kDraws; ++seed) ++drawn[Select({.count = 2}, DomainOf(5, seed))];
  ASSERT_EQ(drawn.size(), 10);
  // Each is binomial with mean 2000 and standard deviation 42.
  for (const auto& [positions, times] : drawn) {
    EXPECT_NEAR(times, kDraws / 10, 5 * 42) << positions[0] << ", " << positions[1];
  }
}

TEST(RandkTest, TheFactorMakesTheMeanThatOfTheValues) {
  constexpr int kDraws = 20'000;
  const std::vector<double> values = {1.0, -2.0, 0.5, 4.0, 0.0, 3.0, -1.0};
  const auto randk = RandkSelector::Create({.fraction = 0.4}).value();
  std::vector<double> sum(values.size());
  for (uint64_t seed = 0; seed < kDraws; ++seed) {
    const Positions positions = Select({.fraction = 0.4}, DomainOf(values.size(), seed));
    const float factor = randk->Unbiased(values.size(), positions.size());
    for (const uint32_t i : positions) sum[i] += factor * values[i];
  }
  // Chosen are 3 of 7, so a mean's standard deviation is |value| · sqrt(4/3 / draws).
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(sum[i] / kDraws, values[i], std::abs(values[i]) * 5 * 0.0082) << i;
  }
  EXPECT_EQ(randk->Unbiased(7, 7), 1.0F);
  EXPECT_EQ(randk->Unbiased(0, 0), 1.0F);
  EXPECT_EQ(randk->Unbiased(1'000, 8), 125.0F);
}

TEST(RandkTest, RefusesBothFractionAndCount) {
  EXPECT_THAT(
      RandkSelector::Create({.fraction = 0.5, .count = 3}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("fraction is 0.5 and count is 3")));
}

}  // namespace
}  // namespace tributary
