#include "common/codec/sparse_payload.h"

#include <limits>
#include <vector>

#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SparsePayloadTest, AddsToItsPositionsOnly) {
  const SparsePayload payload(test::FlatLayout(6), {1, 4}, {2.0F, -3.0F});
  std::vector<float> sum(6, 1.0F);
  payload.AddTo(0.5F, {0, 6}, absl::MakeSpan(sum));
  EXPECT_THAT(sum, ElementsAre(1.0F, 2.0F, 1.0F, 1.0F, -0.5F, 1.0F));
}

// Any two cuts, so that ranges begin and end on positions, beside them and nowhere near.
TEST(SparsePayloadTest, AddingOverRangesIsAddingOverTheWhole) {
  constexpr int64_t kSize = 40;
  const Positions positions = {0, 1, 2, 17, 31, 38, 39};
  std::vector<float> values(positions.size());
  Rng rng(1);
  for (float& value : values) value = static_cast<float>(rng.Normal());
  const SparsePayload payload(test::FlatLayout(kSize), positions, values);
  std::vector<float> expected(kSize, 0.25F);
  for (size_t i = 0; i < positions.size(); ++i) {
    const float product = 1.7F * values[i];
    expected[positions[i]] += product;
  }
  for (int64_t a = 0; a <= kSize; ++a) {
    for (int64_t b = a; b <= kSize; ++b) {
      std::vector<float> sum(kSize, 0.25F);
      for (const CoordinateRange range : {CoordinateRange{0, a}, {a, b}, {b, kSize}}) {
        payload.AddTo(1.7F, range,
                      absl::MakeSpan(sum).subspan(static_cast<size_t>(range.begin),
                                                  static_cast<size_t>(range.size())));
      }
      ASSERT_EQ(sum, expected) << a << ", " << b;
    }
  }
}

TEST(SparsePayloadTest, ManyPositionsAddAsADenseDeltaDoes) {
  constexpr int64_t kSize = 100'000;
  Rng rng(2);
  Positions positions;
  std::vector<float> values;
  std::vector<float> dense(kSize);
  for (uint32_t i = 0; i < kSize; ++i) {
    if (!rng.Bernoulli(0.03)) continue;
    positions.push_back(i);
    values.push_back(static_cast<float>(rng.Normal()));
    dense[i] = values.back();
  }
  const SparsePayload payload(test::FlatLayout(kSize), positions, values);
  std::vector<float> sum(kSize);
  payload.AddTo(1.0F, {0, kSize}, absl::MakeSpan(sum));
  EXPECT_EQ(sum, dense);
}

TEST(SparsePayloadTest, NothingTravels) {
  const SparsePayload payload(test::FlatLayout(3), {}, {});
  std::vector<float> sum = {1.0F, 2.0F, 3.0F};
  payload.AddTo(1.0F, {0, 3}, absl::MakeSpan(sum));
  EXPECT_THAT(sum, ElementsAre(1.0F, 2.0F, 3.0F));
  EXPECT_THAT(payload.CheckFinite(), IsOk());
}

TEST(SparsePayloadTest, NamesTheTensorOfWhatIsNotFinite) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 1e30F}) {
    EXPECT_THAT(SparsePayload(test::TinyLayout(), {0, 5, 6}, {1.0F, 2.0F, bad}).CheckFinite(),
                StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("'fc.bias'")));
    EXPECT_THAT(SparsePayload(test::TinyLayout(), {0, 5, 6}, {1.0F, bad, bad}).CheckFinite(),
                StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("'fc.weight'")));
  }
  EXPECT_THAT(SparsePayload(test::TinyLayout(), {0, 5}, {1.0F, 2.0F}).CheckFinite(), IsOk());
}

TEST(SparsePayloadDeathTest, WantsAValueForEachPositionOfTheLayout) {
  EXPECT_DEATH(SparsePayload(test::FlatLayout(3), {0, 1}, {1.0F}), "size");
  EXPECT_DEATH(SparsePayload(test::FlatLayout(3), {3}, {1.0F}), "trainable_size");
}

}  // namespace
}  // namespace tributary
