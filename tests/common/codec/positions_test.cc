#include "common/codec/positions.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr size_t kMostSize = std::numeric_limits<uint32_t>::max();

std::string Bytes(const std::vector<int>& bytes) { return std::string(bytes.begin(), bytes.end()); }

std::string Written(const Positions& positions, size_t size) {
  std::string bytes;
  AppendPositions(positions, size, bytes);
  return bytes;
}

absl::StatusOr<Positions> Read(absl::string_view bytes, size_t size) {
  return ReadPositions(bytes, size, "topk");
}

Positions RandomPositions(size_t size, double density, Rng& rng) {
  Positions positions;
  for (size_t i = 0; i < size; ++i) {
    if (rng.Bernoulli(density)) positions.push_back(static_cast<uint32_t>(i));
  }
  return positions;
}

bool AreAscendingBelow(size_t size, const Positions& positions) {
  return std::adjacent_find(positions.begin(), positions.end(), std::greater_equal<>()) ==
             positions.end() &&
         (positions.empty() || positions.back() < size);
}

// Runs of every density, as layers of a model make them.
Positions ClusteredPositions(size_t size, Rng& rng) {
  Positions positions;
  for (size_t i = 0; i < size;) {
    const double density = std::pow(2.0, rng.Uniform(-12.0, 0.0));
    for (const size_t end = std::min(size, i + 1 + static_cast<size_t>(rng.UniformInt(600)));
         i < end; ++i) {
      if (rng.Bernoulli(density)) positions.push_back(static_cast<uint32_t>(i));
    }
  }
  return positions;
}

TEST(PositionsTest, GoldenBytes) {
  EXPECT_EQ(Written({}, 100), Bytes({0, 0, 0, 0}));
  EXPECT_EQ(Written({0, 1, 2}, 3), Bytes({3, 0, 0, 0}));
  // The gaps 0, 0, 3, 34: two low bits each, then 1, 1, 1, and 8 zeros and a 1.
  EXPECT_EQ(Written({0, 1, 5, 40}, 100), Bytes({4, 0, 0, 0, 2, 0xb0, 0x07, 0x08}));
  // Dense: no low bits, the highs are a bitmap.
  EXPECT_EQ(Written({0, 2, 3, 4, 6, 7, 8}, 10), Bytes({7, 0, 0, 0, 0, 0xdd, 0x01}));
  // A block of 128 in a row, then one with the gap 872 = 1·2^9 + 0x168.
  Positions positions = AllPositions(129);
  positions.back() = 1000;
  const std::string expected =
      Bytes({129, 0, 0, 0, 0}) + std::string(16, '\xff') + Bytes({9, 0x68, 0x01, 0x02});
  EXPECT_EQ(Written(positions, 2000), expected);
}

TEST(PositionsTest, ReadsWhatWasWrittenAndNoMore) {
  Rng rng(1);
  std::vector<std::pair<Positions, size_t>> cases = {
      {{}, 0},
      {{}, 1},
      {{0}, 1},
      {{0}, 2},
      {{1}, 2},
      {{}, kMostSize},
      {{static_cast<uint32_t>(kMostSize - 1)}, kMostSize},
      {{0, static_cast<uint32_t>(kMostSize - 1)}, kMostSize},
      {{7, 1U << 31, static_cast<uint32_t>(kMostSize - 2)}, kMostSize},
  };
  for (size_t size = 1; size < 400; size += 1 + size / 10) {
    cases.emplace_back(AllPositions(size), size);
    cases.emplace_back(AllPositions(size - 1), size);
    for (const double density : {0.01, 0.1, 0.5, 0.9}) {
      cases.emplace_back(RandomPositions(size, density, rng), size);
    }
  }
  for (const double density : {0.0005, 0.01, 0.03, 0.3, 0.97}) {
    cases.emplace_back(RandomPositions(100'000, density, rng), 100'000);
  }
  for (int i = 0; i < 20; ++i) cases.emplace_back(ClusteredPositions(30'000, rng), 30'000);

  for (const auto& [positions, size] : cases) {
    const std::string bytes = Written(positions, size) + "what follows";
    absl::string_view rest = bytes;
    ASSERT_THAT(ReadPositions(rest, size, "topk"), IsOkAndHolds(positions))
        << positions.size() << " of " << size;
    ASSERT_EQ(rest, "what follows");
  }
}

TEST(PositionsTest, TakesLittleMoreThanTheEntropy) {
  constexpr size_t kSize = 1'000'000;
  for (const double density : {0.001, 0.003, 0.01, 0.03, 0.1}) {
    Rng rng(2);
    const Positions positions = RandomPositions(kSize, density, rng);
    const double bits = 8.0 * static_cast<double>(Written(positions, kSize).size()) /
                        static_cast<double>(positions.size());
    const double entropy = -(std::log2(density) + (1 - density) / density * std::log2(1 - density));
    EXPECT_LE(bits, entropy + 0.25) << density;
    EXPECT_GE(bits, entropy) << density;
  }
}

TEST(PositionsTest, ManyTakeWhatABitmapDoes) {
  constexpr size_t kSize = 100'000;
  for (const double density : {0.4, 0.5, 0.7, 0.99}) {
    Rng rng(3);
    const Positions positions = RandomPositions(kSize, density, rng);
    const size_t blocks = positions.size() / kPositionsPerBlock + 1;
    EXPECT_LE(Written(positions, kSize).size(), 4 + kSize / 8 + 2 * blocks) << density;
  }
}

TEST(PositionsTest, ADenseLayerAndASparseOneEachGetTheirOwnCode) {
  constexpr size_t kHalf = 500'000;
  Rng rng(4);
  const Positions dense = RandomPositions(kHalf, 0.2, rng);
  const Positions sparse = RandomPositions(kHalf, 0.002, rng);
  Positions both = dense;
  for (const uint32_t position : sparse) both.push_back(kHalf + position);
  EXPECT_LE(Written(both, 2 * kHalf).size(),
            Written(dense, kHalf).size() + Written(sparse, kHalf).size() + 200);
}

TEST(PositionsTest, TruncatedBytesAreRefusedAtEveryLength) {
  Rng rng(5);
  const Positions positions = ClusteredPositions(3'000, rng);
  const std::string bytes = Written(positions, 3'000);
  ASSERT_GT(positions.size(), 2 * kPositionsPerBlock);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_THAT(Read(absl::string_view(bytes).substr(0, size), 3'000),
                StatusIs(absl::StatusCode::kInvalidArgument, StartsWith("topk: ")))
        << size;
  }
}

TEST(PositionsTest, FlippedBitsAreRefusedOrAreSomePositions) {
  Rng rng(6);
  const std::string good = Written(ClusteredPositions(2'000, rng), 2'000);
  int refused = 0;
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bytes = good;
    bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
    const auto read = Read(bytes, 2'000);
    if (!read.ok()) {
      ASSERT_THAT(read, StatusIs(absl::StatusCode::kInvalidArgument, StartsWith("topk: ")));
      ++refused;
      continue;
    }
    ASSERT_TRUE(AreAscendingBelow(2'000, *read)) << bit;
  }
  EXPECT_GT(refused, 0);
}

TEST(PositionsTest, GarbageIsRefusedOrIsSomePositions) {
  Rng rng(7);
  for (int round = 0; round < 2'000; ++round) {
    const auto size = static_cast<size_t>(1 + rng.UniformInt(1'000));
    std::string bytes = Bytes({static_cast<int>(rng.UniformInt(256)), 0, 0, 0});
    bytes.resize(static_cast<size_t>(4 + rng.UniformInt(300)));
    for (size_t i = 4; i < bytes.size(); ++i) {
      bytes[i] = static_cast<char>(rng.Bernoulli(0.3) ? rng.UniformInt(40) : rng.UniformInt(256));
    }
    const auto read = Read(bytes, size);
    if (!read.ok()) continue;
    ASSERT_TRUE(AreAscendingBelow(size, *read));
  }
}

TEST(PositionsTest, ACountThatTheBytesCannotHoldIsRefusedBeforeAllocating) {
  EXPECT_THAT(Read(Bytes({0xfe, 0xff, 0xff, 0xff, 0, 0xff, 0xff}), kMostSize),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "topk: 4294967294 positions out of 4294967295 in 3 bytes"));
  EXPECT_THAT(
      Read(Bytes({11, 0, 0, 0, 0, 0xff, 0xff}), 10),
      StatusIs(absl::StatusCode::kInvalidArgument, "topk: 11 positions out of 10 in 3 bytes"));
  EXPECT_THAT(Read(Bytes({1, 0, 0}), 10),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "topk: the number of positions takes 4 bytes, found 3"));
}

TEST(PositionsTest, AShiftIsAtMost31) {
  EXPECT_THAT(Read(Bytes({1, 0, 0, 0, 31, 5, 0, 0, 0, 1}), 10), IsOkAndHolds(ElementsAre(5)));
  EXPECT_THAT(Read(Bytes({1, 0, 0, 0, 32, 5, 0, 0, 0, 1}), 10),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "topk: the shift of a block of positions is 32; allowed: 0 to 31"));
}

TEST(PositionsTest, APositionIsBelowTheSize) {
  const auto is_refused = [](size_t size) {
    return StatusIs(absl::StatusCode::kInvalidArgument,
                    absl::StrCat("topk: a position is not below ", size));
  };
  const Positions positions = {3, 900, 1000};
  EXPECT_THAT(Read(Written(positions, 2000), 1001), IsOkAndHolds(positions));
  EXPECT_THAT(Read(Written(positions, 2000), 1000), is_refused(1000));
  EXPECT_THAT(Read(Written(positions, 2000), 4), is_refused(4));
  // 8000 zeros, each worth 2^31.
  std::string zeros = Bytes({1, 0, 0, 0, 31, 0, 0, 0, 0});
  zeros.append(1'000, '\0');
  zeros.push_back(1);
  EXPECT_THAT(Read(zeros, 10), is_refused(10));
  EXPECT_THAT(Read(zeros, kMostSize), is_refused(kMostSize));
  // The last of one block leaves no room for the next.
  Positions two_blocks = AllPositions(kPositionsPerBlock + 1);
  two_blocks.back() = 500;
  EXPECT_THAT(Read(Written(two_blocks, 1000), 500), is_refused(500));
}

TEST(PositionsTest, BitsLeftOverAreNotLookedAt) {
  EXPECT_THAT(Read(Bytes({1, 0, 0, 0, 2, 0x03, 0x01}), 10), IsOkAndHolds(ElementsAre(3)));
  EXPECT_THAT(Read(Bytes({1, 0, 0, 0, 2, 0xff, 0xff}), 10), IsOkAndHolds(ElementsAre(3)));
}

TEST(PositionsOfBitsTest, AreTheBitsThatAreSet) {
  EXPECT_THAT(PositionsOfBits({}, 0), IsEmpty());
  EXPECT_THAT(PositionsOfBits({uint64_t{0}}, 0), IsEmpty());
  EXPECT_THAT(PositionsOfBits({uint64_t{1} << 63 | 1, uint64_t{0}, uint64_t{2}}, 3),
              ElementsAre(0, 63, 129));
}

TEST(PositionsOfBitsDeathTest, WantsTheirNumber) {
  EXPECT_DEATH(PositionsOfBits({uint64_t{3}}, 1), "next");
  EXPECT_DEATH(PositionsOfBits({uint64_t{3}}, 3), "next");
}

}  // namespace
}  // namespace tributary
