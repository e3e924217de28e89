#include "aggregators/transform/clip.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/thread_parallel.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::MakeDelta;
using ::tributary::test::MakeParams;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;
using ::tributary::test::ThreadParallel;

absl::StatusOr<ParamVector> Clip(double norm, ParamVector delta) {
  auto clip = ClipTransform::Create({.norm = norm}, {.layout = delta.layout()});
  TRIB_RETURN_IF_ERROR(clip.status());
  Aggregate aggregate;
  aggregate.delta = std::move(delta);
  TRIB_RETURN_IF_ERROR((*clip)->Apply(aggregate, {}));
  return std::move(aggregate.delta);
}

TEST(ClipTest, ScalesALongDeltaToTheNorm) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector clipped,
                            Clip(2.5, MakeParams(FlatLayout(2), {3, 4})));
  EXPECT_THAT(clipped, ParamsNear({1.5, 2}, 0));
}

TEST(ClipTest, LeavesAShortDeltaAlone) {
  for (const double norm : {5.0, 5.1, 1e30}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector clipped,
                              Clip(norm, MakeParams(FlatLayout(2), {3, 4})));
    EXPECT_THAT(clipped, ParamsNear({3, 4}, 0));
  }
}

TEST(ClipTest, BuffersNeitherCountNorChange) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector clipped,
                            Clip(2.5, MakeParams(FlatLayout(2, 1), {3, 4, 1000})));
  EXPECT_THAT(clipped, ParamsNear({1.5, 2, 1000}, 0));
}

TEST(ClipTest, SquaresThatAreTooLargeForFloatAreNot) {
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector clipped,
                            Clip(5, MakeParams(FlatLayout(2), {3e30F, 4e30F})));
  EXPECT_THAT(clipped, ParamsNear({3, 4}, 1e-5));
}

TEST(ClipTest, RefusesWhatIsNotFinite) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    EXPECT_THAT(Clip(1, MakeParams(FlatLayout(3), {1, bad, 1})),
                StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("w")));
  }
}

TEST(ClipTest, RefusesANormThatIsNotPositive) {
  for (const double norm : {0.0, -1.0}) {
    EXPECT_THAT(TransformRegistry().Create({"clip", {{"norm", norm}}, {}}, TransformDeps{}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("norm")));
  }
}

TEST(SquaredNormTest, HasTheSameBitsOnAnyNumberOfThreads) {
  const ParamVector x = RandomParams(FlatLayout(100003), 5);
  const double serial = SquaredNorm(x.values(), nullptr);
  EXPECT_NEAR(serial / 100003, 1.0, 0.02) << "the values are standard normal";
  ParamVector doubled = x.Clone();
  Scale(2.0F, doubled.values());
  const auto packed = MakeDelta(x.layout(), {x.values().begin(), x.values().end()});
  for (int64_t threads = 1; threads <= 5; ++threads) {
    ThreadParallel parallel(threads);
    EXPECT_EQ(SquaredNorm(x.values(), &parallel), serial) << threads;
    EXPECT_EQ(SquaredNorm(*packed, 100003, &parallel), serial) << threads;
    EXPECT_EQ(Dot(x.values(), doubled.values(), &parallel), 2 * serial) << threads;
  }
  EXPECT_EQ(SquaredNorm({}, nullptr), 0.0);
}

}  // namespace
}  // namespace tributary
