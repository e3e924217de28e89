#include "client_sdk/torch/batch_stream.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAreArray;

const std::vector<int32_t> kIndices = {3, 5, 7, 11, 13, 17, 19};

std::vector<int32_t> Pass(BatchStream& stream, std::vector<size_t>* sizes = nullptr) {
  std::vector<int32_t> all;
  for (int64_t i = 0; i < stream.batches_per_pass(); ++i) {
    const absl::Span<const int32_t> batch = stream.Next();
    if (sizes != nullptr) sizes->push_back(batch.size());
    all.insert(all.end(), batch.begin(), batch.end());
  }
  return all;
}

TEST(BatchStreamTest, EveryPassHasEveryExampleOnceInANewOrder) {
  BatchStream stream(kIndices, 3, Rng(1));
  std::vector<size_t> sizes;
  const std::vector<int32_t> first = Pass(stream, &sizes);
  const std::vector<int32_t> second = Pass(stream, &sizes);
  EXPECT_THAT(sizes, ElementsAre(3, 3, 1, 3, 3, 1));
  EXPECT_THAT(first, UnorderedElementsAreArray(kIndices));
  EXPECT_THAT(second, UnorderedElementsAreArray(kIndices));
  EXPECT_NE(first, kIndices);
  EXPECT_NE(second, first);
}

TEST(BatchStreamTest, TheSeedDecides) {
  BatchStream a(kIndices, 2, Rng(1));
  BatchStream b(kIndices, 2, Rng(1));
  BatchStream c(kIndices, 2, Rng(2));
  const std::vector<int32_t> first = Pass(a);
  EXPECT_EQ(first, Pass(b));
  EXPECT_NE(first, Pass(c));
}

TEST(BatchStreamTest, ABatchLargerThanTheDataIsAllOfIt) {
  BatchStream stream(kIndices, 100, Rng(1));
  EXPECT_EQ(stream.batches_per_pass(), 1);
  EXPECT_EQ(stream.Next().size(), kIndices.size());
}

}  // namespace
}  // namespace tributary
