// The matchers must fail when they should: a matcher that cannot fail hides every bug.
#include <limits>
#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointee;

template <typename T, typename M>
std::string Explain(const T& value, const M& matcher) {
  ::testing::StringMatchResultListener listener;
  ::testing::ExplainMatchResult(matcher, value, &listener);
  return listener.str();
}

TEST(StatusMatchersTest, MatchStatusAndStatusOr) {
  const absl::Status bad = absl::NotFoundError("no such thing");
  const absl::StatusOr<int> good = 3;
  EXPECT_THAT(absl::OkStatus(), IsOk());
  EXPECT_THAT(good, AllOf(IsOk(), IsOkAndHolds(3), Not(IsOkAndHolds(4))));
  EXPECT_THAT(bad, AllOf(Not(IsOk()), StatusIs(absl::StatusCode::kNotFound),
                         StatusIs(absl::StatusCode::kNotFound, "no such thing"),
                         StatusIs(absl::StatusCode::kNotFound, HasSubstr("such")),
                         Not(StatusIs(absl::StatusCode::kNotFound, HasSubstr("other"))),
                         Not(StatusIs(absl::StatusCode::kInternal))));
  EXPECT_THAT(absl::StatusOr<int>(bad), AllOf(Not(IsOk()), Not(IsOkAndHolds(3))));
  EXPECT_THAT(Explain(absl::StatusOr<int>(bad), IsOkAndHolds(3)), HasSubstr("no such thing"));
}

TEST(StatusMatchersTest, HoldValuesThatOnlyMove) {
  const absl::StatusOr<std::unique_ptr<int>> good = std::make_unique<int>(3);
  EXPECT_THAT(good, IsOkAndHolds(Pointee(3)));
}

TEST(ParamsNearTest, ComparesWithinTheTolerance) {
  const ParamVector params = MakeParams(TinyLayout(), {0, 1, 2, 3, 4, 5, 6, 7.5F, 8, 9});
  const std::vector<float> expected = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_THAT(params, ParamsNear(expected, 0.5));
  EXPECT_THAT(params, Not(ParamsNear(expected, 0.49)));
  EXPECT_THAT(params, Not(ParamsNear({0, 1}, 100)));
  EXPECT_THAT(params.trainable(), ParamsNear({0, 1, 2, 3, 4, 5, 6, 7.5F}, 0));
  EXPECT_THAT(Explain(params, ParamsNear(expected, 0.1)), HasSubstr("fc.bias[1]"));
}

TEST(ParamsNearTest, ANanIsNearNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_THAT(std::vector<float>({nan, 1}), Not(ParamsNear({1, 1}, 1e9)));
  EXPECT_THAT(std::vector<float>({1, nan}), Not(ParamsNear({1, nan}, 1e9)));
  EXPECT_THAT(std::vector<float>({infinity}), ParamsNear({infinity}, 0));
  EXPECT_THAT(std::vector<float>({infinity}), Not(ParamsNear({-infinity}, 1e9)));
}

TEST(TempDirTest, IsGoneAfterwards) {
  std::string path;
  {
    const TempDir dir;
    path = dir.Write("a/b.txt", "text");
    EXPECT_EQ(ReadFile(path), "text");
  }
  EXPECT_DEATH(ReadFile(path), "check failed");
}

}  // namespace
}  // namespace tributary::test
