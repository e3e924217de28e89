#include "common/codec/topk.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "common/codec/positions.h"
#include "common/rng.h"
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

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TopkOptions Count(int64_t count, const std::string& scope = "global") {
  TopkOptions options;
  options.count = count;
  options.scope = scope;
  return options;
}

TopkOptions Fraction(double fraction, const std::string& scope = "global") {
  TopkOptions options;
  options.fraction = fraction;
  options.scope = scope;
  return options;
}

SelectionDomain DomainOf(size_t size) { return {.size = size, .tensor_ends = {size}}; }

// What is chosen, which reading must give too.
Positions Select(const TopkOptions& options, const std::vector<float>& values,
                 const SelectionDomain& domain) {
  const auto topk = TopkSelector::Create(options).value();
  std::string bytes;
  Positions positions = topk->Select(values, domain, bytes);
  absl::string_view rest = bytes;
  EXPECT_THAT(topk->Read(rest, domain), IsOkAndHolds(positions));
  EXPECT_THAT(rest, IsEmpty());
  return positions;
}

Positions Select(const TopkOptions& options, const std::vector<float>& values) {
  return Select(options, values, DomainOf(values.size()));
}

// All of them, sorted by magnitude and then by position.
Positions Largest(const std::vector<float>& values, size_t count) {
  Positions order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto magnitude = [&](uint32_t i) {
    return std::isnan(values[i]) ? kInfinity : std::abs(values[i]);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return magnitude(a) > magnitude(b); });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

std::vector<std::vector<float>> InputsOf(size_t size, Rng& rng) {
  std::vector<float> normal(size), tied(size), few(size), scales(size), close(size);
  for (size_t i = 0; i < size; ++i) {
    normal[i] = static_cast<float>(rng.Normal());
    tied[i] = static_cast<float>(rng.UniformInt(5) - 2);
    few[i] = rng.Bernoulli(0.02) ? static_cast<float>(rng.Normal()) : 0.0F;
    scales[i] = static_cast<float>(
        std::ldexp(rng.Uniform(-1.0, 1.0), static_cast<int>(rng.UniformInt(280)) - 152));
    // All of one bucket, some equal.
    close[i] = std::bit_cast<float>(0x3f800000U + static_cast<uint32_t>(rng.UniformInt(3000)));
  }
  return {normal,
          tied,
          few,
          scales,
          close,
          std::vector<float>(size, -0.0F),
          std::vector<float>(size, 3.5F)};
}

TEST(TopkTest, ChoosesTheLargestTheFirstOfEqualOnes) {
  EXPECT_THAT(Select(Count(2), {0.5F, -3.0F, 2.0F, 1.0F}), ElementsAre(1, 2));
  EXPECT_THAT(Select(Count(3), {1.0F, -1.0F, 2.0F, 1.0F, -1.0F}), ElementsAre(0, 1, 2));
  EXPECT_THAT(Select(Count(2), {0.0F, -0.0F, 0.0F}), ElementsAre(0, 1));
  EXPECT_THAT(Select(Count(9), {1.0F, 2.0F}), ElementsAre(0, 1));
  EXPECT_THAT(Select(Count(1), {}), IsEmpty());
  EXPECT_THAT(Select({}, {1.0F, 2.0F}), ElementsAre(1));
}

TEST(TopkTest, ChoosesAsSortingDoes) {
  Rng rng(1);
  for (const size_t size : {1, 2, 3, 7, 64, 100, 1'000, 20'000}) {
    const auto inputs = InputsOf(size, rng);
    for (size_t input = 0; input < inputs.size(); ++input) {
      for (const size_t count :
           {size_t{1}, size_t{2}, size / 100, size / 7, size / 2, size - 1, size}) {
        if (count < 1 || count > size) continue;
        ASSERT_EQ(Select(Count(static_cast<int64_t>(count)), inputs[input]),
                  Largest(inputs[input], count))
            << count << " of " << size << ", input " << input;
      }
    }
  }
}

TEST(TopkTest, ATinyDifferenceDecides) {
  std::vector<float> values(1'000, 1.0F);
  values[700] = -std::nextafter(1.0F, 2.0F);
  values[900] = std::nextafter(1.0F, 0.0F);
  EXPECT_THAT(Select(Count(1), values), ElementsAre(700));
  EXPECT_THAT(Select(Count(2), values), ElementsAre(0, 700));
  const Positions all_but_one = Select(Count(999), values);
  EXPECT_FALSE(std::binary_search(all_but_one.begin(), all_but_one.end(), 900));
}

TEST(TopkTest, WhatIsNotFiniteIsNotLost) {
  EXPECT_THAT(Select(Count(1), {5.0F, kNan, kInfinity}), ElementsAre(1));
  EXPECT_THAT(Select(Count(2), {5.0F, -kNan, -kInfinity}), ElementsAre(1, 2));
  EXPECT_THAT(Select(Count(1), {std::numeric_limits<float>::max(), -kInfinity}), ElementsAre(1));
}

TEST(TopkTest, WithTheScopeTensorEachTensorIsByItself) {
  const std::vector<float> values = {9.0F, 8.0F, 7.0F, 0.1F, 0.3F, 0.2F, 0.05F};
  const SelectionDomain domain{.size = 7, .tensor_ends = {0, 3, 3, 6, 7}};
  EXPECT_THAT(Select(Count(2), values, domain), ElementsAre(0, 1));
  EXPECT_THAT(Select(Count(2, "tensor"), values, domain), ElementsAre(0, 1, 4, 5, 6));
  EXPECT_THAT(Select(Fraction(0.01, "tensor"), values, domain), ElementsAre(0, 4, 6));
  EXPECT_THAT(Select(Fraction(0.5, "tensor"), values, domain), ElementsAre(0, 1, 4, 5, 6));

  Rng rng(2);
  const std::vector<float> many = InputsOf(5'000, rng)[0];
  const SelectionDomain parts{.size = 5'000, .tensor_ends = {10, 3'000, 3'000, 4'999, 5'000}};
  Positions expected;
  size_t begin = 0;
  for (const size_t end : parts.tensor_ends) {
    const std::vector<float> part(many.begin() + static_cast<std::ptrdiff_t>(begin),
                                  many.begin() + static_cast<std::ptrdiff_t>(end));
    for (const uint32_t position : Largest(part, (part.size() + 9) / 10)) {
      expected.push_back(static_cast<uint32_t>(begin) + position);
    }
    begin = end;
  }
  EXPECT_EQ(Select(Fraction(0.1, "tensor"), many, parts), expected);
}

TEST(TopkTest, NothingToChooseFrom) {
  EXPECT_THAT(Select(Count(3), {}, {.size = 0}), IsEmpty());
  EXPECT_THAT(Select(Count(3, "tensor"), {}, {.size = 0}), IsEmpty());
  EXPECT_THAT(Select(Count(3, "tensor"), {}, {.size = 0, .tensor_ends = {0, 0}}), IsEmpty());
}

TEST(TopkTest, RefusesAnotherNumberThanTheJobSays) {
  const auto topk = TopkSelector::Create(Count(3)).value();
  for (const Positions& positions :
       {Positions{}, Positions{1, 2}, Positions{1, 2, 3, 4}, AllPositions(10)}) {
    std::string bytes;
    AppendPositions(positions, 10, bytes);
    absl::string_view rest = bytes;
    EXPECT_THAT(topk->Read(rest, DomainOf(10)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         absl::StrCat("topk: 3 of 10 values travel, found ", positions.size())));
  }
}

TEST(TopkTest, InAWarmUpTheVersionSaysHowMany) {
  TopkOptions options = Fraction(0.0625);
  options.warmup = SparsityWarmup{.versions = 2, .from = 1.0};
  const auto topk = TopkSelector::Create(options).value();
  SelectionDomain domain = DomainOf(64);
  const std::vector<float> values(domain.size, 1.0F);
  for (const auto& [version, count] : {std::pair{0, 64}, std::pair{1, 16}, std::pair{2, 4}}) {
    domain.version = version;
    EXPECT_EQ(Select(options, values, domain).size(), count);
  }
  std::string bytes;
  topk->Select(values, domain, bytes);
  domain.version = 1;
  absl::string_view rest = bytes;
  EXPECT_THAT(topk->Read(rest, domain), StatusIs(absl::StatusCode::kInvalidArgument,
                                                 "topk: 16 of 64 values travel, found 4"));
}

TEST(TopkTest, RefusesTruncatedBytesAtEveryLength) {
  Rng rng(3);
  const SelectionDomain domain = DomainOf(3'000);
  const auto topk = TopkSelector::Create(Fraction(0.1)).value();
  std::string bytes;
  topk->Select(InputsOf(domain.size, rng)[0], domain, bytes);
  for (size_t size = 0; size < bytes.size(); ++size) {
    absl::string_view rest = absl::string_view(bytes).substr(0, size);
    ASSERT_THAT(topk->Read(rest, domain),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("topk: ")));
  }
}

TEST(TopkTest, RefusesOptionsThatMakeNoSense) {
  TopkOptions both = Count(3);
  both.fraction = 0.5;
  EXPECT_THAT(TopkSelector::Create(both), StatusIs(absl::StatusCode::kInvalidArgument,
                                                   HasSubstr("fraction is 0.5 and count is 3")));
  EXPECT_THAT(config::Parse<TopkOptions>(config::NodeFromJson({{"scope", "tensors"}}), "topk"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("topk.scope")));
}

}  // namespace
}  // namespace tributary
