#include "common/params/mask.h"

#include <algorithm>
#include <string>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::tributary::test::StatusIs;

TEST(MaskTest, TravelsWithTheFirstCoordinateInTheLowestBit) {
  const Mask mask({true, false, true, true, false, false, false, false, true});
  EXPECT_EQ(PackMask(mask), std::string("\x0D\x01"));
}

TEST(MaskTest, ComesBackFromItsBytes) {
  Rng rng(5);
  for (const int64_t size : {1, 7, 8, 9, 63, 64, 65, 1000}) {
    std::vector<bool> keep;
    for (int64_t i = 0; i < size; ++i) keep.push_back(rng.Uniform() < 0.5);
    const Mask mask(keep);
    TRIB_ASSERT_OK_AND_ASSIGN(const Mask back, UnpackMask(size, PackMask(mask)));
    EXPECT_EQ(back.words(), mask.words());
    EXPECT_EQ(back.count(), mask.count());
    EXPECT_EQ(back.size(), size);
  }
}

TEST(MaskTest, BytesOfAnotherSizeOrWithBitsBehindTheLastAreRefused) {
  EXPECT_THAT(UnpackMask(9, "a"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("allowed: 2 bytes")));
  EXPECT_THAT(UnpackMask(9, std::string("\x01\x02", 2)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bits after the last")));
}

TEST(MaskTest, ClearsAPartOfTheCoordinates) {
  const Mask mask({true, false, true, false});
  std::vector<float> values = {1, 2, 3};
  ClearPruned(mask, 1, absl::MakeSpan(values));
  EXPECT_THAT(values, ElementsAre(0, 2, 0));
}

TEST(MaskTest, GathersWhatItKeepsAndScattersItBack) {
  std::vector<bool> keep(130);
  for (const size_t i : {0, 63, 64, 129}) keep[i] = true;
  const Mask mask(keep);
  std::vector<float> values(130);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  const std::vector<float> kept = GatherKept(mask, values);
  EXPECT_THAT(kept, ElementsAre(1, 64, 65, 130));
  ScatterKept(mask, kept, absl::MakeSpan(values));
  EXPECT_EQ(GatherKept(mask, values), kept);
  EXPECT_EQ(std::count(values.begin(), values.end(), 0.0F), 126);
}

}  // namespace
}  // namespace tributary
