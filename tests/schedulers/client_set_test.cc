#include "schedulers/client_set.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

const ClientId kA("a"), kB("b"), kC("c");

TEST(ClientSetTest, HoldsEachClientOnceInOrder) {
  ClientSet set;
  for (const ClientId& client : {kC, kA, kB, kA}) set.Insert(client);
  EXPECT_THAT(set.Members(), ElementsAre(kA, kB, kC));
  set.Erase(kB);
  set.Erase(kB);
  EXPECT_THAT(set.Members(), ElementsAre(kA, kC));
  EXPECT_EQ(set.size(), 2);
  EXPECT_FALSE(set.Contains(kB));
}

// What it draws is pinned to the sorted members: a run of today is a run of tomorrow.
TEST(ClientSetTest, IsASortedSetUnderAnyHistory) {
  ClientSet set;
  std::set<ClientId> oracle;
  Rng history(5), rng(6), oracle_rng(6);
  for (int i = 0; i < 20000; ++i) {
    const ClientId client("c" + std::to_string(history.UniformInt(1000)));
    // Waves: it fills up, empties, and fills up again.
    if (history.Uniform() < (i / 4000 % 2 == 0 ? 0.8 : 0.1)) {
      set.Insert(client);
      oracle.insert(client);
    } else {
      set.Erase(client);
      oracle.erase(client);
    }
    ASSERT_EQ(set.size(), std::ssize(oracle));
    ASSERT_EQ(set.Contains(client), oracle.contains(client));
    if (i % 100 != 0) continue;
    const std::vector<ClientId> members(oracle.begin(), oracle.end());
    ASSERT_EQ(set.Members(), members);
    std::vector<ClientId> expected;
    const int64_t count = std::min<int64_t>(i % 700, std::ssize(members));
    for (const int64_t rank : oracle_rng.SampleWithoutReplacement(std::ssize(members), count)) {
      expected.push_back(members[static_cast<size_t>(rank)]);
    }
    ASSERT_EQ(set.Draw(count, rng), expected);
  }
  for (const ClientId& client : oracle) set.Erase(client);
  EXPECT_EQ(set.size(), 0);
  EXPECT_THAT(set.Members(), IsEmpty());
  EXPECT_THAT(set.Draw(3, rng), IsEmpty());
}

TEST(ClientSetTest, DrawsDifferentMembersAndAllOfThemWhenThereAreFewer) {
  ClientSet set;
  Rng rng(1);
  EXPECT_THAT(set.Draw(2, rng), IsEmpty());
  for (const ClientId& client : {kA, kB, kC}) set.Insert(client);
  for (int i = 0; i < 50; ++i) {
    const std::vector<ClientId> two = set.Draw(2, rng);
    ASSERT_EQ(two.size(), 2u);
    EXPECT_NE(two[0], two[1]);
  }
  EXPECT_THAT(set.Draw(9, rng), UnorderedElementsAre(kA, kB, kC));
  EXPECT_EQ(set.size(), 3) << "drawing takes nobody out";
}

TEST(ClientSetTest, DrawDoesNotDependOnTheOrderOfInsertion) {
  ClientSet forward, backward;
  for (int i = 0; i < 100; ++i) forward.Insert(ClientId("c" + std::to_string(i)));
  for (int i = 99; i >= 0; --i) backward.Insert(ClientId("c" + std::to_string(i)));
  Rng one(7), two(7);
  EXPECT_EQ(forward.Draw(10, one), backward.Draw(10, two));
}

TEST(ClientSetTest, DrawsEveryMemberEquallyOften) {
  ClientSet set;
  for (int i = 0; i < 10; ++i) set.Insert(ClientId("c" + std::to_string(i)));
  Rng rng(3);
  std::map<ClientId, int> drawn;
  for (int i = 0; i < 10000; ++i) {
    for (const ClientId& client : set.Draw(3, rng)) ++drawn[client];
  }
  // 3000 expected, standard deviation 46.
  for (const auto& [client, count] : drawn) EXPECT_NEAR(count, 3000, 250) << client;
  EXPECT_EQ(drawn.size(), 10u);
}

}  // namespace
}  // namespace tributary
