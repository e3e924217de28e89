#include "common/rng.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;

// The reference: xoshiro256** seeded by SplitMix64 from 0, as in Rust's rand_xoshiro.
TEST(RngTest, IsTheReferenceGenerator) {
  Rng rng(0);
  EXPECT_EQ(rng.Next(), 11091344671253066420U);
  EXPECT_EQ(rng.Next(), 13793997310169335082U);
  EXPECT_EQ(rng.Next(), 1900383378846508768U);
  EXPECT_EQ(rng.Next(), 7684712102626143532U);
}

template <typename Draw>
std::array<double, 3> FirstThree(Draw draw) {
  Rng rng(42);
  std::array<double, 3> values{};
  for (double& value : values) value = static_cast<double>(draw(rng));
  return values;
}

// To the bit: a change here changes every run that anybody has recorded.
TEST(RngGoldenTest, FirstNumbersOfEveryDistribution) {
  EXPECT_THAT(FirstThree([](Rng& r) { return r.Uniform(); }),
              ElementsAre(0x1.5780b2e0c2ecp-4, 0x1.84136619b444ep-2, 0x1.5c2ea66473c93p-1));
  EXPECT_THAT(FirstThree([](Rng& r) { return r.Uniform(-2.0, 3.0); }),
              ElementsAre(-0x1.94a7c819c3164p+0, -0x1.ae7c05fdea9ep-4, 0x1.66749ffb2177p+0));
  EXPECT_THAT(FirstThree([](Rng& r) { return r.UniformInt(1000); }), ElementsAre(742, 102, 9));
  EXPECT_THAT(FirstThree([](Rng& r) { return r.Bernoulli(0.5); }), ElementsAre(1, 1, 0));
  EXPECT_THAT(FirstThree([](Rng& r) { return r.Normal(1.0, 2.0); }),
              ElementsAre(-0x1.cf4bfac3ecddcp-2, 0x1.717887de04a93p+0, 0x1.eda8a5fd62da7p+0));
  EXPECT_THAT(FirstThree([](Rng& r) { return r.Exponential(3.0); }),
              ElementsAre(0x1.0d130d6c0300fp-2, 0x1.6dde8e56c7814p+0, 0x1.b59848d813366p+1));
  EXPECT_THAT(FirstThree([](Rng& r) { return r.Gamma(2.5, 2.0); }),
              ElementsAre(0x1.438c773a77604p+1, 0x1.eda13ca073005p+2, 0x1.4969058700966p+3));
  EXPECT_THAT(FirstThree([](Rng& r) { return r.Gamma(0.1); }),
              ElementsAre(0x1.2b9c05c0c8539p-4, 0x1.8b57deba7278bp-69, 0x1.1025eada7e16cp-20));
}

TEST(RngGoldenTest, FirstVectorsAndOrders) {
  EXPECT_THAT(Rng(42).Dirichlet(0.3, 3),
              ElementsAre(0x1.d9096d5cbd801p-1, 0x1.2cbc4c525bd91p-20, 0x1.37b3685dc7ad6p-4));
  EXPECT_THAT(Rng(42).SampleWithoutReplacement(100, 5), ElementsAre(42, 19, 21, 15, 8));
  std::vector<int> items = {0, 1, 2, 3, 4, 5, 6, 7};
  Rng(42).Shuffle(absl::MakeSpan(items));
  EXPECT_THAT(items, ElementsAre(7, 2, 4, 0, 3, 5, 1, 6));
}

TEST(RngGoldenTest, SeedsOfSplitStreams) {
  const Rng rng(42);
  EXPECT_EQ(rng.Split("selection").seed(), 0xe5b2431cfe86f161U);
  EXPECT_EQ(rng.Split("").seed(), 0x7a5502d865f82c11U);
  EXPECT_EQ(rng.Split("7").seed(), 0x4268924502376519U);
  EXPECT_EQ(rng.Split(7).seed(), 0x4d0ea8ae16d0f021U);
}

TEST(RngTest, SplittingIgnoresHowFarTheStreamHasRun) {
  Rng rng(5);
  const uint64_t before = rng.Split("a").Split(3).Next();
  for (int i = 0; i < 100; ++i) rng.Next();
  EXPECT_EQ(rng.Split("a").Split(3).Next(), before);
}

TEST(RngTest, NamesIndicesAndTheirOrderGiveDifferentStreams) {
  std::set<uint64_t> seeds;
  size_t made = 0;
  for (const uint64_t seed : {0, 1, 2}) {
    const Rng rng(seed);
    for (uint64_t i = 0; i < 1000; ++i) {
      seeds.insert(rng.Split(i).seed());
      seeds.insert(rng.Split(std::to_string(i)).seed());
      made += 2;
    }
    seeds.insert(rng.Split("a").Split("b").seed());
    seeds.insert(rng.Split("b").Split("a").seed());
    seeds.insert(rng.Split("ab").seed());
    seeds.insert(rng.seed());
    made += 4;
  }
  EXPECT_EQ(seeds.size(), made);
}

TEST(RngTest, GoesOnFromItsState) {
  Rng rng(9);
  for (int i = 0; i < 17; ++i) rng.Normal();
  Rng copy = Rng::FromState(rng.state());
  EXPECT_EQ(copy.seed(), 9U);
  EXPECT_EQ(copy.Split("x").seed(), rng.Split("x").seed());
  for (int i = 0; i < 100; ++i) ASSERT_EQ(copy.Gamma(0.5), rng.Gamma(0.5));
  EXPECT_EQ(copy.state(), rng.state());
}

// ---- moments: within 5 standard errors of the true mean and of the true variance ----

struct Distribution {
  std::string name;
  std::function<double(Rng&)> draw;
  double mean;
  double variance;
  double kurtosis;  // fourth central moment over the variance squared
};

class MomentsTest : public ::testing::TestWithParam<Distribution> {};

TEST_P(MomentsTest, MeanAndVarianceAreRight) {
  constexpr int kDraws = 400'000;
  const Distribution& d = GetParam();
  Rng rng(20260102);
  double sum = 0.0;
  double squares = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double off = d.draw(rng) - d.mean;
    sum += off;
    squares += off * off;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 5.0 * std::sqrt(d.variance / kDraws));
  EXPECT_NEAR(squares / kDraws, d.variance,
              5.0 * d.variance * std::sqrt((d.kurtosis - 1.0) / kDraws));
}

INSTANTIATE_TEST_SUITE_P(
    Rng, MomentsTest,
    ::testing::Values(
        Distribution{"Uniform", [](Rng& r) { return r.Uniform(); }, 0.5, 1.0 / 12, 1.8},
        Distribution{"UniformRange", [](Rng& r) { return r.Uniform(-2.0, 4.0); }, 1.0, 3.0, 1.8},
        Distribution{"UniformInt", [](Rng& r) { return static_cast<double>(r.UniformInt(6)); }, 2.5,
                     35.0 / 12, 1.732},
        Distribution{"Bernoulli", [](Rng& r) { return r.Bernoulli(0.3) ? 1.0 : 0.0; }, 0.3, 0.21,
                     1.762},
        Distribution{"Normal", [](Rng& r) { return r.Normal(-1.0, 3.0); }, -1.0, 9.0, 3.0},
        Distribution{"Exponential", [](Rng& r) { return r.Exponential(2.0); }, 2.0, 4.0, 9.0},
        Distribution{"GammaLarge", [](Rng& r) { return r.Gamma(20.0, 0.5); }, 10.0, 5.0, 3.3},
        Distribution{"GammaOne", [](Rng& r) { return r.Gamma(1.0); }, 1.0, 1.0, 9.0},
        Distribution{"GammaSmall", [](Rng& r) { return r.Gamma(0.3, 2.0); }, 0.6, 1.2, 23.0}),
    [](const auto& param) { return param.param.name; });

TEST(RngTest, NormalHasTheRightShareInEachTail) {
  constexpr int kDraws = 400'000;
  Rng rng(3);
  std::map<int, int> beyond;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.Normal();
    for (int sigma = 1; sigma <= 3; ++sigma) beyond[sigma] += x > sigma ? 1 : 0;
  }
  for (const auto& [sigma, count] : beyond) {
    const double p = 0.5 * std::erfc(sigma / std::sqrt(2.0));
    EXPECT_NEAR(count, kDraws * p, 5.0 * std::sqrt(kDraws * p * (1.0 - p))) << sigma;
  }
}

TEST(RngTest, UniformStaysInItsRange) {
  Rng rng(1);
  const double above_one = std::nextafter(1.0, 2.0);
  for (int i = 0; i < 10'000; ++i) {
    const double x = rng.Uniform();
    ASSERT_TRUE(0.0 <= x && x < 1.0);
    ASSERT_EQ(rng.Uniform(1.0, above_one), 1.0);
  }
}

TEST(RngTest, UniformIntIsUnbiasedForARangeThatDoesNotDivideTheWords) {
  // 2^64 mod 3·2^61 is 2^62: the plain remainder would favour the lower numbers.
  constexpr int64_t kRange = int64_t{3} << 61;
  constexpr int kDraws = 90'000;
  Rng rng(8);
  std::array<int, 3> thirds{};
  for (int i = 0; i < kDraws; ++i) ++thirds[static_cast<size_t>(rng.UniformInt(kRange) >> 61)];
  for (const int count : thirds) EXPECT_NEAR(count, kDraws / 3, 5 * std::sqrt(kDraws * 2.0 / 9));
}

TEST(RngTest, UniformIntOfOneIsZero) { EXPECT_EQ(Rng(1).UniformInt(1), 0); }

TEST(RngTest, BernoulliOfZeroAndOneIsCertain) {
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(rng.Bernoulli(0.0));
    ASSERT_TRUE(rng.Bernoulli(1.0));
  }
}

TEST(DirichletTest, SumsToOneEvenForTinyAndHugeConcentrations) {
  Rng rng(4);
  for (const double alpha : {1e-300, 1e-6, 1e-3, 0.1, 1.0, 100.0, 1e12}) {
    for (int i = 0; i < 200; ++i) {
      const std::vector<double> x = rng.Dirichlet(alpha, 10);
      ASSERT_EQ(x.size(), 10U);
      for (const double v : x) ASSERT_TRUE(v >= 0.0 && v <= 1.0) << alpha;
      ASSERT_NEAR(std::accumulate(x.begin(), x.end(), 0.0), 1.0, 1e-12) << alpha;
    }
  }
}

TEST(DirichletTest, HasTheRightMeansAndVariances) {
  const std::vector<double> alpha = {0.2, 1.0, 3.0};
  const double total = 4.2;
  constexpr int kDraws = 100'000;
  Rng rng(12);
  std::array<double, 3> sum{};
  std::array<double, 3> squares{};
  for (int i = 0; i < kDraws; ++i) {
    const std::vector<double> x = rng.Dirichlet(alpha);
    for (size_t k = 0; k < 3; ++k) {
      sum[k] += x[k];
      squares[k] += x[k] * x[k];
    }
  }
  for (size_t k = 0; k < 3; ++k) {
    const double mean = alpha[k] / total;
    const double variance = mean * (1.0 - mean) / (total + 1.0);
    EXPECT_NEAR(sum[k] / kDraws, mean, 5.0 * std::sqrt(variance / kDraws));
    EXPECT_NEAR(squares[k] / kDraws - mean * mean, variance, 0.02 * variance);
  }
}

TEST(DirichletTest, TinyConcentrationPutsAllWeightOnOneCoordinateAtRandom) {
  constexpr int kDraws = 4000;
  Rng rng(6);
  std::array<int, 4> winners{};
  for (int i = 0; i < kDraws; ++i) {
    const std::vector<double> x = rng.Dirichlet(1e-5, 4);
    const auto largest = std::max_element(x.begin(), x.end());
    ASSERT_GT(*largest, 0.5);
    ++winners[static_cast<size_t>(largest - x.begin())];
  }
  for (const int count : winners) EXPECT_NEAR(count, 1000, 5 * std::sqrt(kDraws * 3.0 / 16));
}

TEST(DirichletTest, OfNothingIsEmpty) { EXPECT_TRUE(Rng(1).Dirichlet(1.0, 0).empty()); }

TEST(SampleWithoutReplacementTest, GivesDifferentIndicesInRange) {
  Rng rng(7);
  for (const int64_t n : {0, 1, 2, 10, 1000}) {
    for (const int64_t count : {int64_t{0}, n / 3, n}) {
      const std::vector<int64_t> sample = rng.SampleWithoutReplacement(n, count);
      const std::set<int64_t> distinct(sample.begin(), sample.end());
      ASSERT_EQ(sample.size(), static_cast<size_t>(count));
      ASSERT_EQ(distinct.size(), sample.size());
      for (const int64_t i : sample) ASSERT_TRUE(0 <= i && i < n);
    }
  }
}

TEST(SampleWithoutReplacementTest, EveryOrderedSampleIsEquallyLikely) {
  constexpr int kDraws = 120'000;
  Rng rng(11);
  std::map<std::vector<int64_t>, int> seen;
  for (int i = 0; i < kDraws; ++i) ++seen[rng.SampleWithoutReplacement(4, 2)];
  ASSERT_EQ(seen.size(), 12U);
  for (const auto& [sample, count] : seen) EXPECT_NEAR(count, 10'000, 5 * std::sqrt(9167.0));
}

TEST(SampleWithoutReplacementTest, NeedsNoMemoryForAHugePopulation) {
  EXPECT_EQ(Rng(1).SampleWithoutReplacement(int64_t{1} << 60, 3).size(), 3U);
}

TEST(ShuffleTest, EveryOrderIsEquallyLikely) {
  constexpr int kDraws = 120'000;
  Rng rng(13);
  std::map<std::vector<int>, int> seen;
  for (int i = 0; i < kDraws; ++i) {
    std::vector<int> items = {1, 2, 3, 4};
    rng.Shuffle(absl::MakeSpan(items));
    ++seen[items];
  }
  ASSERT_EQ(seen.size(), 24U);
  for (const auto& [items, count] : seen) EXPECT_NEAR(count, 5000, 5 * std::sqrt(4792.0));
}

}  // namespace
}  // namespace tributary
