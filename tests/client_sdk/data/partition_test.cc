#include "client_sdk/data/partition.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Labels 0 … classes − 1 in turn, owners 0 … 49 in turn. No inputs: partitions see none.
Dataset Balanced(int64_t examples, int64_t classes = 10) {
  Dataset data;
  data.example_shape = {1};
  data.num_classes = classes;
  data.num_clients = 50;
  for (int64_t i = 0; i < examples; ++i) {
    data.labels.push_back(i % classes);
    data.client_ids.push_back(static_cast<int32_t>(i % 50));
  }
  return data;
}

config::Choice Choose(const std::string& name, nlohmann::json options = nlohmann::json::object()) {
  config::Choice choice;
  choice.name = name;
  choice.options = std::move(options);
  return choice;
}

std::vector<double> LabelCounts(const Dataset& data, const std::vector<int32_t>& part) {
  std::vector<double> counts(static_cast<size_t>(data.num_classes));
  for (const int32_t i : part) ++counts[static_cast<size_t>(data.labels[static_cast<size_t>(i)])];
  return counts;
}

int64_t ClassesIn(const Dataset& data, const std::vector<int32_t>& part) {
  const std::vector<double> counts = LabelCounts(data, part);
  return std::count_if(counts.begin(), counts.end(), [](double count) { return count > 0; });
}

// Σ (observed − expected)² / expected against the labels of the whole.
double ChiSquare(const Dataset& data, const std::vector<int32_t>& part) {
  const auto expected = static_cast<double>(part.size()) / static_cast<double>(data.num_classes);
  double sum = 0;
  for (const double count : LabelCounts(data, part)) {
    sum += (count - expected) * (count - expected) / expected;
  }
  return sum;
}

// The share of a client's most frequent class, averaged over the clients.
double Skew(const Dataset& data, const Partition& parts) {
  double sum = 0;
  for (const auto& part : parts) {
    const std::vector<double> counts = LabelCounts(data, part);
    sum += *std::max_element(counts.begin(), counts.end()) / static_cast<double>(part.size());
  }
  return sum / static_cast<double>(parts.size());
}

std::vector<size_t> Sizes(const Partition& parts) {
  std::vector<size_t> sizes;
  for (const auto& part : parts) sizes.push_back(part.size());
  return sizes;
}

// Every partitioner in the registry, with its default options.
class EveryPartitionerTest : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryPartitionerTest, PartsAreDisjointSortedNotEmptyAndCover) {
  const Dataset data = Balanced(3001);
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts,
                            PartitionDataset(data, Choose(GetParam()), 50, 3));
  ASSERT_EQ(parts.size(), 50U);
  std::vector<int32_t> all;
  for (const auto& part : parts) {
    EXPECT_THAT(part, Not(IsEmpty()));
    EXPECT_TRUE(std::is_sorted(part.begin(), part.end()));
    all.insert(all.end(), part.begin(), part.end());
  }
  std::sort(all.begin(), all.end());
  std::vector<int32_t> expected(3001);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(all, expected);
}

TEST_P(EveryPartitionerTest, TheSeedDecides) {
  const Dataset data = Balanced(3000);
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition a, PartitionDataset(data, Choose(GetParam()), 50, 3));
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition b, PartitionDataset(data, Choose(GetParam()), 50, 3));
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition c, PartitionDataset(data, Choose(GetParam()), 50, 4));
  EXPECT_EQ(a, b);
  if (GetParam() == "natural") {
    EXPECT_EQ(a, c);
  } else {
    EXPECT_NE(a, c);
  }
}

TEST_P(EveryPartitionerTest, MoreClientsThanExamples) {
  EXPECT_THAT(PartitionDataset(Balanced(10), Choose(GetParam()), 11, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(GetParam()), HasSubstr("11 clients for 10 examples"),
                             HasSubstr("allowed: 1 to 10"))));
  EXPECT_THAT(PartitionDataset(Balanced(10), Choose(GetParam()), 0, 1),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const auto& entry : PartitionerRegistry().entries()) names.push_back(entry.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryPartitionerTest, ::testing::ValuesIn(Names()),
                         [](const auto& row) { return row.param; });

TEST(PartitionerRegistryTest, HasTheNamesOfTheDocumentation) {
  EXPECT_THAT(Names(), ElementsAre("iid", "dirichlet", "dual_dirichlet", "shards", "classes",
                                   "compass_classes", "quantity", "natural"));
}

TEST(PartitionTest, UnknownNameIsSuggested) {
  EXPECT_THAT(PartitionDataset(Balanced(10), Choose("shard"), 2, 1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("'shards'")));
}

TEST(IidTest, EvenSizesAndLabelsLikeTheWhole) {
  const Dataset data = Balanced(20003);
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts, PartitionDataset(data, Choose("iid"), 20, 1));
  double chi_square = 0;
  for (const auto& part : parts) {
    EXPECT_TRUE(part.size() == 1000 || part.size() == 1001) << part.size();
    chi_square += ChiSquare(data, part);
  }
  // About chi-square with 20 · 9 degrees of freedom: mean 180, standard deviation 19.
  EXPECT_GT(chi_square, 180 - 5 * 19);
  EXPECT_LT(chi_square, 180 + 5 * 19);
}

TEST(DirichletTest, SkewFallsAsAlphaRises) {
  const Dataset data = Balanced(20000);
  double last = 1.01;
  for (const double alpha : {0.05, 0.3, 1.0, 10.0, 1000.0}) {
    TRIB_ASSERT_OK_AND_ASSIGN(
        const Partition parts,
        PartitionDataset(data, Choose("dirichlet", {{"alpha", alpha}}), 20, 1));
    const double skew = Skew(data, parts);
    EXPECT_LT(skew, last - 0.02) << alpha;
    last = skew;
  }
  EXPECT_NEAR(last, 0.1, 0.02);
}

// A client's share of a class has mean 1/K and variance (1/K)(1 − 1/K)/(K·alpha + 1).
TEST(DirichletTest, SharesHaveTheVarianceOfTheDistribution) {
  const Dataset data = Balanced(100000, 100);
  constexpr double kClients = 10;
  constexpr double kAlpha = 0.5;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(data, Choose("dirichlet", {{"alpha", kAlpha}}), 10, 2));
  double sum = 0;
  for (const auto& part : parts) {
    for (const double count : LabelCounts(data, part)) {
      sum += (count / 1000 - 1 / kClients) * (count / 1000 - 1 / kClients);
    }
  }
  const double variance = (1 / kClients) * (1 - 1 / kClients) / (kClients * kAlpha + 1);
  EXPECT_NEAR(sum / 1000, variance, 0.25 * variance);
}

TEST(DirichletTest, DrawsAgainUntilEveryClientHasEnough) {
  const Dataset data = Balanced(2000);
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(data, Choose("dirichlet", {{"alpha", 0.1}, {"min_examples", 20}}), 20, 1));
  for (const auto& part : parts) EXPECT_GE(part.size(), 20U);
}

TEST(DirichletTest, SaysWhichClientStaysEmpty) {
  EXPECT_THAT(PartitionDataset(Balanced(100), Choose("dirichlet", {{"alpha", 0.01}}), 60, 1),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::ContainsRegex(
                           "partition dirichlet leaves client [0-9]+ empty .*a larger alpha")));
}

TEST(DirichletTest, MinExamplesThatCannotBe) {
  EXPECT_THAT(PartitionDataset(Balanced(100), Choose("dirichlet", {{"min_examples", 11}}), 10, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("allow up to 10")));
}

// The counts follow from W and C, which are drawn here once more from the same streams.
TEST(DualDirichletTest, CountsAreThoseOfTheFormula) {
  constexpr size_t kClients = 20;
  Dataset data = Balanced(60000, 8);
  for (int64_t& label : data.labels) label = label == 3 ? 0 : label;  // uneven, one class absent
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(
          data, Choose("dual_dirichlet", {{"size_concentration", 60}, {"class_concentration", 4}}),
          kClients, 7));
  const Rng rng = Rng(7).Split("partition");
  const std::vector<double> w = rng.Split("sizes").Dirichlet(60.0 / kClients, kClients);
  const std::vector<int64_t> class_of = {0, 1, 2, 4, 5, 6, 7};
  const std::vector<double> total = {15000, 7500, 7500, 7500, 7500, 7500, 7500};
  std::vector<double> alpha;
  for (const double examples : total) alpha.push_back(4 * examples / 60000);
  std::vector<std::vector<double>> c;
  for (size_t i = 0; i < kClients; ++i) c.push_back(rng.Split("classes").Split(i).Dirichlet(alpha));
  for (size_t j = 0; j < total.size(); ++j) {
    double sum = 0, given = 0;
    for (size_t i = 0; i < kClients; ++i) sum += w[i] * c[i][j];
    for (size_t i = 0; i < kClients; ++i) {
      const double expected =
          i + 1 < kClients ? std::floor(w[i] * c[i][j] / sum * total[j]) : total[j] - given;
      EXPECT_EQ(LabelCounts(data, parts[i])[static_cast<size_t>(class_of[j])], expected) << i;
      given += expected;
    }
  }
}

TEST(DualDirichletTest, ConcentrationsSetTheSkewOfSizesAndOfClasses) {
  const Dataset data = Balanced(50000);
  const auto deal = [&data](double sizes, double classes) {
    auto parts = PartitionDataset(
        data,
        Choose("dual_dirichlet", {{"size_concentration", sizes}, {"class_concentration", classes}}),
        20, 3);
    EXPECT_THAT(parts, IsOk());
    return *std::move(parts);
  };
  const auto largest = [](const Partition& parts) {
    const std::vector<size_t> sizes = Sizes(parts);
    return *std::max_element(sizes.begin(), sizes.end());
  };
  EXPECT_NEAR(static_cast<double>(largest(deal(1e5, 1e5))), 2500, 250);
  EXPECT_GT(largest(deal(5, 1e5)), 5000U);
  EXPECT_NEAR(Skew(data, deal(1e5, 1e5)), 0.1, 0.02);
  EXPECT_GT(Skew(data, deal(1e5, 0.5)), 0.6);
}

TEST(DualDirichletTest, WithoutASizeConcentrationItIsTheNumberOfClients) {
  const Dataset data = Balanced(3000);
  EXPECT_EQ(*PartitionDataset(data, Choose("dual_dirichlet"), 20, 1),
            *PartitionDataset(data, Choose("dual_dirichlet", {{"size_concentration", 20}}), 20, 1));
}

TEST(DualDirichletTest, NobodyIsLeftEmpty) {
  // Nearly everything to one client, as many clients as examples.
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(
          Balanced(100),
          Choose("dual_dirichlet", {{"size_concentration", 0.01}, {"class_concentration", 0.01}}),
          100, 1));
  for (const auto& part : parts) EXPECT_EQ(part.size(), 1U);
}

TEST(CompassClassesTest, TheTableSaysHowManyClasses) {
  const Dataset data = Balanced(20000);
  const std::vector<std::pair<int64_t, int64_t>> table = {{10, 10}, {7, 8}, {6, 8}, {5, 7}, {5, 6},
                                                          {4, 6},   {4, 5}, {3, 5}, {3, 5}};
  for (size_t m = 1; m <= table.size(); ++m) {
    std::set<int64_t> seen;
    for (uint64_t seed = 0; seed < 30; ++seed) {
      TRIB_ASSERT_OK_AND_ASSIGN(
          const Partition parts,
          PartitionDataset(data, Choose("compass_classes"), static_cast<int64_t>(m), seed));
      for (const auto& part : parts) seen.insert(ClassesIn(data, part));
    }
    EXPECT_EQ(*seen.begin(), table[m - 1].first) << m;
    EXPECT_EQ(*seen.rbegin(), table[m - 1].second) << m;
  }
}

TEST(CompassClassesTest, AClassIsSplitInProportionToNormalDraws) {
  const Dataset data = Balanced(200000);
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(data, Choose("compass_classes", {{"min_classes", 10}, {"max_classes", 10}}),
                       20, 5));
  // 200 shares |N(10, 3²)| / Σ: mean 1/20, and nearly 0.3 of that as standard deviation.
  double sum = 0;
  for (const auto& part : parts) {
    for (const double count : LabelCounts(data, part)) {
      sum += (count / 1000 - 1) * (count / 1000 - 1);
    }
  }
  EXPECT_NEAR(std::sqrt(sum / 200), 0.3, 0.05);
}

TEST(CompassClassesTest, WhatCannotBe) {
  const auto deal = [](nlohmann::json options, int64_t clients) {
    return PartitionDataset(Balanced(1000), Choose("compass_classes", std::move(options)), clients,
                            1);
  };
  EXPECT_THAT(deal({{"min_classes", 11}, {"max_classes", 12}}, 20),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("11 to 12 classes a client; allowed: 1 to 10")));
  EXPECT_THAT(deal({{"min_classes", 4}, {"max_classes", 3}}, 20),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("min_classes no more than max_classes")));
  EXPECT_THAT(deal({{"min_classes", 1}, {"max_classes", 2}}, 4),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("did not hold all 10 in any of 1000 draws")));
}

// A shard no longer than a class touches at most two of them.
TEST(ShardsTest, FewClassesAClientAndEvenSizes) {
  const Dataset data = Balanced(20000);
  for (const int64_t shards : {1, 2, 3}) {
    TRIB_ASSERT_OK_AND_ASSIGN(
        const Partition parts,
        PartitionDataset(data, Choose("shards", {{"shards_per_client", shards}}), 50, 1));
    for (const auto& part : parts) {
      EXPECT_LE(ClassesIn(data, part), 2 * shards);
      EXPECT_NEAR(static_cast<double>(part.size()), 400, static_cast<double>(shards));
    }
  }
  // 100 shards of 200: a class is exactly ten shards, so two shards are at most two classes.
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts, PartitionDataset(data, Choose("shards"), 50, 1));
  for (const auto& part : parts) EXPECT_LE(ClassesIn(data, part), 2);
}

TEST(ShardsTest, MoreShardsThanExamples) {
  EXPECT_THAT(PartitionDataset(Balanced(100), Choose("shards", {{"shards_per_client", 3}}), 50, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("allow up to 2")));
}

TEST(ClassesTest, ExactlySoManyClassesABalancedNumberOfHolders) {
  const Dataset data = Balanced(5000);
  for (const int64_t classes : {1, 2, 3, 10}) {
    TRIB_ASSERT_OK_AND_ASSIGN(
        const Partition parts,
        PartitionDataset(data, Choose("classes", {{"classes_per_client", classes}}), 23, 1));
    std::vector<int64_t> holders(10);
    for (const auto& part : parts) {
      EXPECT_EQ(ClassesIn(data, part), classes);
      const std::vector<double> counts = LabelCounts(data, part);
      for (size_t c = 0; c < 10; ++c) holders[c] += counts[c] > 0 ? 1 : 0;
    }
    const auto [least, most] = std::minmax_element(holders.begin(), holders.end());
    EXPECT_LE(*most - *least, 1) << classes;
  }
}

TEST(ClassesTest, PairsOfClassesDiffer) {
  const Dataset data = Balanced(5000);
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts,
                            PartitionDataset(data, Choose("classes"), 50, 1));
  std::set<std::vector<bool>> kinds;
  for (const auto& part : parts) {
    std::vector<bool> kind;
    for (const double count : LabelCounts(data, part)) kind.push_back(count > 0);
    kinds.insert(kind);
  }
  EXPECT_GT(kinds.size(), 10U);
}

TEST(ClassesTest, WhatCannotBe) {
  const auto partition = [](int64_t examples, int64_t classes, int64_t clients) {
    return PartitionDataset(Balanced(examples),
                            Choose("classes", {{"classes_per_client", classes}}), clients, 1);
  };
  EXPECT_THAT(partition(1000, 11, 20),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("allowed: 1 to 10")));
  EXPECT_THAT(partition(1000, 2, 3),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("allowed: 4 to 10")));
  EXPECT_THAT(partition(50, 10, 20), StatusIs(absl::StatusCode::kInvalidArgument,
                                              HasSubstr("a class has 5 examples for 20")));
}

TEST(QuantityTest, SizesVaryAndLabelsDoNot) {
  const Dataset data = Balanced(50000);
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(data, Choose("quantity", {{"alpha", 0.5}, {"min_examples", 20}}), 20, 1));
  const std::vector<size_t> sizes = Sizes(parts);
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  EXPECT_GE(*least, 20U);
  EXPECT_GT(*most, 5 * *least);
  double chi_square = 0;
  for (const auto& part : parts) chi_square += ChiSquare(data, part);
  EXPECT_LT(chi_square, 180 + 5 * 19);
}

TEST(QuantityTest, LargeAlphaIsEven) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Partition parts,
      PartitionDataset(Balanced(20000), Choose("quantity", {{"alpha", 1e5}}), 20, 1));
  for (const auto& part : parts) EXPECT_NEAR(static_cast<double>(part.size()), 1000, 50);
}

TEST(NaturalTest, PartsAreTheOwners) {
  const Dataset data = Balanced(200);
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts,
                            PartitionDataset(data, Choose("natural"), 50, 1));
  EXPECT_THAT(parts[7], ElementsAre(7, 57, 107, 157));
}

TEST(NaturalTest, FewerClientsLeaveOwnersOutAndOwnersWithoutExamplesDoNotCount) {
  Dataset data = Balanced(6);
  data.client_ids = {4, 2, 4, 9, 2, 2};
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts, PartitionDataset(data, Choose("natural"), 2, 1));
  EXPECT_THAT(parts, ElementsAre(ElementsAre(1, 4, 5), ElementsAre(0, 2)));
  EXPECT_THAT(PartitionDataset(data, Choose("natural"), 4, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("up to the 3 owners")));
}

TEST(NaturalTest, NeedsOwners) {
  Dataset data = Balanced(100);
  data.client_ids.clear();
  EXPECT_THAT(PartitionDataset(data, Choose("natural"), 10, 1),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("`client`")));
}

TEST(PartitionTest, TextIsDealtOutByOwnersAndNumbersButNotByLabel) {
  Dataset text;
  text.example_shape = {2};
  text.num_classes = 256;
  text.tokens.assign(3 * 40, 7);
  text.num_clients = 2;
  for (int32_t i = 0; i < 40; ++i) text.client_ids.push_back(i % 2);
  for (const std::string name : {"iid", "natural", "quantity"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts, PartitionDataset(text, Choose(name), 2, 1));
    EXPECT_EQ(parts[0].size() + parts[1].size(), 40U) << name;
  }
  for (const std::string name :
       {"dirichlet", "dual_dirichlet", "shards", "classes", "compass_classes"}) {
    EXPECT_THAT(PartitionDataset(text, Choose(name), 2, 1),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("deals out by label, and text has none")))
        << name;
  }
}

}  // namespace
}  // namespace tributary
