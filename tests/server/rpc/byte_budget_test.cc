#include "server/rpc/byte_budget.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;

TEST(ByteBudgetTest, GrantsInTheOrderOfAsking) {
  ByteBudget budget(10);
  std::vector<int> granted;
  const auto ask = [&](int64_t bytes, int name) {
    budget.Acquire(bytes, [&granted, name] { granted.push_back(name); });
  };
  ask(6, 1);
  ask(6, 2);
  ask(1, 3);  // would fit, but it is not its turn
  EXPECT_THAT(granted, ElementsAre(1));
  budget.Release(6);
  EXPECT_THAT(granted, ElementsAre(1, 2, 3));
  ask(4, 4);
  EXPECT_THAT(granted, ElementsAre(1, 2, 3));
  budget.Release(1);
  EXPECT_THAT(granted, ElementsAre(1, 2, 3, 4));
}

TEST(ByteBudgetTest, MoreThanEverythingIsGrantedAlone) {
  ByteBudget budget(10);
  int granted = 0;
  budget.Acquire(100, [&] { ++granted; });
  budget.Acquire(100, [&] { ++granted; });
  EXPECT_EQ(granted, 1);
  budget.Release(100);
  EXPECT_EQ(granted, 2);
}

TEST(ByteBudgetTest, AGrantMayReleaseAtOnce) {
  ByteBudget budget(1);
  int granted = 0;
  budget.Acquire(1, [&] { ++granted; });
  for (int i = 0; i < 3; ++i) {
    budget.Acquire(1, [&] {
      ++granted;
      budget.Release(1);
    });
  }
  budget.Release(1);
  EXPECT_EQ(granted, 4);
}

}  // namespace
}  // namespace tributary
