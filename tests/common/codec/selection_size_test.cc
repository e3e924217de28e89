#include "common/codec/selection_size.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::StatusIs;
using ::testing::HasSubstr;

absl::StatusOr<SelectionSize> Parse(const nlohmann::json& json) {
  return config::Parse<SelectionSize>(config::NodeFromJson(json), "topk");
}

TEST(SelectionSizeTest, AFractionIsRoundedUp) {
  const SelectionSize quarter{.fraction = 0.25};
  EXPECT_EQ(quarter.Of(0, 0), 0);
  EXPECT_EQ(quarter.Of(1, 0), 1);
  EXPECT_EQ(quarter.Of(4, 0), 1);
  EXPECT_EQ(quarter.Of(5, 0), 2);
  EXPECT_EQ(quarter.Of(4'000'000'000, 0), 1'000'000'000);
  EXPECT_EQ(SelectionSize{.fraction = 1.0}.Of(4'294'967'295, 0), 4'294'967'295);
  EXPECT_EQ(SelectionSize{.fraction = 1e-300}.Of(7, 0), 1);
}

TEST(SelectionSizeTest, ACountIsAtMostWhatThereIs) {
  const SelectionSize three{.count = 3};
  EXPECT_EQ(three.Of(0, 0), 0);
  EXPECT_EQ(three.Of(2, 0), 2);
  EXPECT_EQ(three.Of(3, 0), 3);
  EXPECT_EQ(three.Of(1'000'000, 0), 3);
}

TEST(SelectionSizeTest, IsOneInAHundredUnlessItIsSaid) {
  EXPECT_EQ(SelectionSize{}.Of(10'000, 0), 100);
  EXPECT_EQ(Parse(nlohmann::json::object())->Of(10'000, 0), 100);
  EXPECT_EQ(Parse({{"fraction", 0.5}})->Of(10'000, 0), 5'000);
  EXPECT_EQ(Parse({{"count", 7}})->Of(10'000, 0), 7);
}

TEST(SelectionSizeTest, RefusesWhatIsOutOfRangeOrBoth) {
  for (const double fraction : {0.0, -0.5, 1.5}) {
    EXPECT_THAT(Parse({{"fraction", fraction}}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("topk.fraction")));
  }
  EXPECT_THAT(Parse({{"count", 0}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("topk.count")));
  EXPECT_THAT(Parse({{"fraction", 0.5}, {"count", 3}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("fraction is 0.5 and count is 3; allowed is one of them")));
}

// 75 %, 93.75 %, 98.4375 %, 99.6 % and 99.9 % are left out (Lin et al. 2018, section 3.3).
TEST(SelectionSizeTest, AWarmUpFallsAsThePaperHasIt) {
  const SelectionSize size{.fraction = 0.0009765625,
                           .warmup = SparsityWarmup{.versions = 4, .from = 0.25}};
  EXPECT_EQ(size.Of(1 << 20, 0), 1 << 18);
  EXPECT_EQ(size.Of(1 << 20, 1), 1 << 16);
  EXPECT_EQ(size.Of(1 << 20, 2), 1 << 14);
  EXPECT_EQ(size.Of(1 << 20, 3), 1 << 12);
  for (const Version version : {Version{4}, Version{5}, std::numeric_limits<Version>::max()}) {
    EXPECT_EQ(size.Of(1 << 20, version), 1 << 10);
  }
  EXPECT_EQ(size.Of(1 << 20, -1), 1 << 18) << "of a hostile update";
  EXPECT_EQ(size.Of(0, 0), 0);
  EXPECT_EQ(size.Of(3, 3), 1);
}

TEST(SelectionSizeTest, AWarmUpIsTheExponentialThatItSays) {
  constexpr size_t kValues = 4'000'000'000;
  for (const int64_t versions : {1, 3, 7, 20, 1000}) {
    const SelectionSize size{.warmup = SparsityWarmup{.versions = versions, .from = 0.6}};
    for (Version version = 0; version < versions; ++version) {
      const double passed = static_cast<double>(version) / static_cast<double>(versions);
      const double share = 0.6 * std::pow(0.01 / 0.6, passed);
      ASSERT_NEAR(static_cast<double>(size.Of(kValues, version)), share * kValues, 1.0)
          << version << " of " << versions;
    }
    EXPECT_EQ(size.Of(kValues, versions), kValues / 100);
  }
}

// What both ends must go on computing, to the last value.
TEST(SelectionSizeTest, GoldenWarmUp) {
  const auto size = Parse({{"warmup", {{"versions", 20}, {"from", 0.25}}}});
  EXPECT_EQ(size->Of(100'000'000, 1), 21'283'499);
  EXPECT_EQ(size->Of(100'000'000, 7), 8'103'283);
  EXPECT_EQ(size->Of(100'000'000, 19), 1'174'619);
}

TEST(SelectionSizeTest, RefusesAWarmUpThatDoesNotFall) {
  const nlohmann::json none = nlohmann::json::object();
  EXPECT_EQ(Parse({{"warmup", none}})->Of(10'000, 0), 2'500);
  EXPECT_THAT(Parse({{"count", 3}, {"warmup", none}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("count is 3, and warmup")));
  EXPECT_THAT(Parse({{"fraction", 0.25}, {"warmup", none}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("warmup.from is 0.25; allowed: above fraction, which is 0.25")));
  for (const nlohmann::json& warmup :
       {nlohmann::json{{"from", 0.0}}, nlohmann::json{{"from", 1.5}}}) {
    EXPECT_THAT(Parse({{"warmup", warmup}}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("topk.warmup.from")));
  }
  EXPECT_THAT(Parse({{"warmup", {{"versions", 0}}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("topk.warmup.versions")));
}

}  // namespace
}  // namespace tributary
