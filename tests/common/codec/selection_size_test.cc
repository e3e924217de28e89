#include "common/codec/selection_size.h"

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
  EXPECT_EQ(quarter.Of(0), 0);
  EXPECT_EQ(quarter.Of(1), 1);
  EXPECT_EQ(quarter.Of(4), 1);
  EXPECT_EQ(quarter.Of(5), 2);
  EXPECT_EQ(quarter.Of(4'000'000'000), 1'000'000'000);
  EXPECT_EQ(SelectionSize{.fraction = 1.0}.Of(4'294'967'295), 4'294'967'295);
  EXPECT_EQ(SelectionSize{.fraction = 1e-300}.Of(7), 1);
}

TEST(SelectionSizeTest, ACountIsAtMostWhatThereIs) {
  const SelectionSize three{.count = 3};
  EXPECT_EQ(three.Of(0), 0);
  EXPECT_EQ(three.Of(2), 2);
  EXPECT_EQ(three.Of(3), 3);
  EXPECT_EQ(three.Of(1'000'000), 3);
}

TEST(SelectionSizeTest, IsOneInAHundredUnlessItIsSaid) {
  EXPECT_EQ(SelectionSize{}.Of(10'000), 100);
  EXPECT_EQ(Parse(nlohmann::json::object())->Of(10'000), 100);
  EXPECT_EQ(Parse({{"fraction", 0.5}})->Of(10'000), 5'000);
  EXPECT_EQ(Parse({{"count", 7}})->Of(10'000), 7);
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

}  // namespace
}  // namespace tributary
