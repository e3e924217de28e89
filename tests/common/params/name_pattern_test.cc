#include "common/params/name_pattern.h"

#include "gtest/gtest.h"

namespace tributary {
namespace {

TEST(MatchesPatternTest, StarsStandForAnythingQuestionMarksForOne) {
  EXPECT_TRUE(MatchesPattern("*", ""));
  EXPECT_TRUE(MatchesPattern("*", "fc1.weight"));
  EXPECT_TRUE(MatchesPattern("fc1.weight", "fc1.weight"));
  EXPECT_TRUE(MatchesPattern("fc?.weight", "fc1.weight"));
  EXPECT_TRUE(MatchesPattern("fc*", "fc1.weight"));
  EXPECT_TRUE(MatchesPattern("*.weight", "layer1.0.conv1.weight"));
  EXPECT_TRUE(MatchesPattern("*.0.*weight", "layer1.0.conv1.weight"));
  EXPECT_TRUE(MatchesPattern("a*b*c", "abbcbc")) << "the first b and c are not the last";
  EXPECT_TRUE(MatchesPattern("**", "x"));
  EXPECT_TRUE(MatchesPattern("x*", "x"));
}

TEST(MatchesPatternTest, TheWholeNameCounts) {
  EXPECT_FALSE(MatchesPattern("", "x"));
  EXPECT_FALSE(MatchesPattern("fc1", "fc1.weight"));
  EXPECT_FALSE(MatchesPattern("weight", "fc1.weight"));
  EXPECT_FALSE(MatchesPattern("fc?", "fc"));
  EXPECT_FALSE(MatchesPattern("*.bias", "fc1.weight"));
  EXPECT_FALSE(MatchesPattern("a*b*c", "abcb"));
  EXPECT_FALSE(MatchesPattern("fc.weight", "fcxweight")) << "a dot is a dot";
}

TEST(MatchesAnyTest, OneIsEnough) {
  EXPECT_TRUE(MatchesAny({"conv*", "fc*"}, "fc1.weight"));
  EXPECT_FALSE(MatchesAny({"conv*", "fc*"}, "head.weight"));
  EXPECT_FALSE(MatchesAny({}, "fc1.weight"));
}

}  // namespace
}  // namespace tributary
