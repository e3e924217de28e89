#include "common/params/collection.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::tributary::test::FlatLayout;
using ::tributary::test::StatusIs;

ParamVector Values(const LayoutPtr& layout, const std::vector<float>& values) {
  ParamVector params(layout);
  std::copy(values.begin(), values.end(), params.values().begin());
  return params;
}

CollectRequest Request(int64_t size) {
  return {.kind = CollectKind::kExplore, .options_json = "{}", .layout = FlatLayout(size, 0)};
}

TEST(CollectionTest, DeviationsAreSquaredAndOfMeanOne) {
  const LayoutPtr layout = FlatLayout(4, 0);
  const ParamVector base = Values(layout, {0, 1, -1, 0.5F});
  const ParamVector trained = Values(layout, {0.5F, 1, -2.5F, 0.5F});
  // Squares 0.25, 0, 2.25, 0 of mean 0.625.
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector found, Deviations(base, trained, Request(4)));
  EXPECT_THAT(found.values(), ElementsAre(0.4F, 0, 3.6F, 0));
}

TEST(CollectionTest, DeviationsDoNotSeeHowLongAClientTrained) {
  const LayoutPtr layout = FlatLayout(3, 0);
  const ParamVector base = Values(layout, {1, 1, 1});
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector near,
                            Deviations(base, Values(layout, {2, 1, 3}), Request(3)));
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector far,
                            Deviations(base, Values(layout, {5, 1, 9}), Request(3)));
  for (size_t i = 0; i < 3; ++i) EXPECT_FLOAT_EQ(near.values()[i], far.values()[i]);
}

TEST(CollectionTest, TwiceAsManyValuesAskForTheShiftsToo) {
  const LayoutPtr layout = FlatLayout(2, 0);
  const ParamVector base = Values(layout, {0, 0});
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector found,
                            Deviations(base, Values(layout, {-1, 1}), Request(4)));
  EXPECT_THAT(found.values(), ElementsAre(1, 1, -1, 1));
}

TEST(CollectionTest, WhatDidNotMoveIsZero) {
  const LayoutPtr layout = FlatLayout(2, 0);
  const ParamVector base = Values(layout, {3, 4});
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector found, Deviations(base, base.Clone(), Request(2)));
  EXPECT_THAT(found.values(), Each(0));
}

TEST(CollectionTest, ARequestOfAnotherSizeIsRefused) {
  const ParamVector base = Values(FlatLayout(2, 0), {3, 4});
  EXPECT_THAT(Deviations(base, base.Clone(), Request(3)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("allowed: 2 or 4")));
}

}  // namespace
}  // namespace tributary
