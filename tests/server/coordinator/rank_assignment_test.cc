#include "server/coordinator/rank_assignment.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::Eq;
using ::testing::Optional;

ClientId Id(int64_t n) { return ClientId(absl::StrCat("c", n)); }

LoraSpec Ranks(std::string assign) {
  LoraSpec spec;
  spec.ranks = std::vector<int64_t>{16, 2, 8, 4};
  spec.assign = std::move(assign);
  return spec;
}

TEST(RankAssignmentTest, OneRankIsEverybodys) {
  LoraSpec spec;
  spec.rank = 8;
  RankAssignment ranks(spec, 2);
  ranks.Know(Id(1), 0, 0);
  EXPECT_THAT(ranks.RankOf(Id(1)), Optional(8));
  EXPECT_EQ(ranks.RankOf(Id(2)), std::nullopt) << "never came";
}

TEST(RankAssignmentTest, InTurnGoesRoundInTheOrderOfTheFile) {
  RankAssignment ranks(Ranks("in_turn"), 2);
  for (int64_t i = 0; i < 6; ++i) ranks.Know(Id(i), 0, 0);
  ranks.Know(Id(0), 0, 0);  // again
  const std::vector<int64_t> expected = {16, 2, 8, 4, 16, 2};
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_THAT(ranks.RankOf(Id(i)), Optional(expected[static_cast<size_t>(i)])) << i;
  }
}

TEST(RankAssignmentTest, AWishIsTheMost) {
  RankAssignment ranks(Ranks("in_turn"), 2);
  ranks.Know(Id(1), /*wish=*/4, 0);
  ranks.Know(Id(2), /*wish=*/7, 0);
  ranks.Know(Id(3), /*wish=*/64, 0);
  ranks.Know(Id(4), /*wish=*/1, 0);
  EXPECT_THAT(ranks.RankOf(Id(1)), Optional(4));
  EXPECT_THAT(ranks.RankOf(Id(2)), Optional(4));
  EXPECT_THAT(ranks.RankOf(Id(3)), Optional(16));
  EXPECT_EQ(ranks.RankOf(Id(4)), std::nullopt) << "less than the smallest";
  ranks.Know(Id(4), /*wish=*/2, 0);
  EXPECT_THAT(ranks.RankOf(Id(4)), Optional(2)) << "it may say something new";
}

TEST(RankAssignmentTest, MemoryHoldsModelsAdapterGradientAndMoments) {
  TrainSpec train;
  EXPECT_EQ(CopiesInTraining(train), 2);
  train.optimizer.options["momentum"] = 0.9;
  EXPECT_EQ(CopiesInTraining(train), 3);
  train.optimizer.name = "adamw";
  EXPECT_EQ(CopiesInTraining(train), 4);

  RankAssignment ranks(Ranks("memory"), CopiesInTraining(train));
  ranks.SetModel(/*model_bytes=*/1000, /*bytes_each_rank=*/10);
  EXPECT_EQ(ranks.memory().At(8), 2 * 1000 + 4 * 10 * 8);
  ranks.Know(Id(1), 0, 2640);  // exactly rank 16
  ranks.Know(Id(2), 0, 2639);
  ranks.Know(Id(3), 0, 2080);  // exactly rank 2
  ranks.Know(Id(4), 0, 2079);
  ranks.Know(Id(5), 0, 0);  // not declared
  EXPECT_THAT(ranks.RankOf(Id(1)), Optional(16));
  EXPECT_THAT(ranks.RankOf(Id(2)), Optional(8));
  EXPECT_THAT(ranks.RankOf(Id(3)), Optional(2));
  EXPECT_EQ(ranks.RankOf(Id(4)), std::nullopt);
  EXPECT_EQ(ranks.RankOf(Id(5)), std::nullopt);
}

TEST(RankAssignmentTest, TheFastestShareGetsTheLargestRank) {
  RankAssignment ranks(Ranks("speed"), 2);
  for (int64_t i = 0; i < 8; ++i) {
    ranks.Know(Id(i), 0, 0);
    EXPECT_THAT(ranks.RankOf(Id(i)), Optional(2)) << "not measured yet";
  }
  for (int64_t i = 0; i < 8; ++i) ranks.NoteStep(Id(i), absl::Seconds(8 - i));
  const std::vector<int64_t> expected = {2, 2, 4, 4, 8, 8, 16, 16};
  for (int64_t i = 0; i < 8; ++i) {
    EXPECT_THAT(ranks.RankOf(Id(i)), Optional(expected[static_cast<size_t>(i)])) << i;
  }
  // The average moves slowly: one slow step makes nobody the slowest.
  ranks.NoteStep(Id(7), absl::Seconds(30));
  EXPECT_THAT(ranks.RankOf(Id(7)), Optional(8));
}

}  // namespace
}  // namespace tributary
