#include "common/codec/masked.h"

#include <string>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOkAndHolds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Positions Select(const SelectionDomain& domain) {
  const MaskedSelector masked;
  std::string bytes;
  Positions positions = masked.Select(std::vector<float>(domain.size), domain, bytes);
  EXPECT_THAT(bytes, IsEmpty());
  absl::string_view rest = "what follows";
  EXPECT_THAT(masked.Read(rest, domain), IsOkAndHolds(positions));
  EXPECT_EQ(rest, "what follows");
  return positions;
}

TEST(MaskedTest, ChoosesWhatTheMaskKeeps) {
  Rng rng(1);
  for (size_t size = 0; size < 300; ++size) {
    for (const double density : {0.0, 0.1, 0.9, 1.0}) {
      std::vector<bool> keep(size);
      Positions expected;
      for (size_t i = 0; i < size; ++i) {
        keep[i] = rng.Bernoulli(density);
        if (keep[i]) expected.push_back(static_cast<uint32_t>(i));
      }
      const Mask mask(keep);
      ASSERT_EQ(Select({.size = size, .tensor_ends = {size}, .mask = &mask}), expected);
    }
  }
}

TEST(MaskedTest, ChoosesAllWithoutAMask) {
  EXPECT_THAT(Select({.size = 4, .tensor_ends = {4}}), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(Select({.size = 0}), IsEmpty());
}

TEST(MaskedDeathTest, WantsTheMaskOfTheDomain) {
  const Mask mask(std::vector<bool>(5, true));
  EXPECT_DEATH(Select({.size = 6, .tensor_ends = {6}, .mask = &mask}), "size");
}

}  // namespace
}  // namespace tributary
