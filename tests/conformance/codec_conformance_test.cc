// What every codec promises (common/codec/codec.h), over every entry of the registry alone and over
// the pipelines that people use. A new stage states its error bound in ErrorBound, and is tested.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "common/codec/codec.h"
#include "common/codec/codec_registry.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;

// The largest |decoded − x| that a codec may make of x.
double ErrorBound(const std::string& codec, double x) {
  if (codec == "raw") return 0.0;
  if (codec == "fp16") {
    return std::abs(x) > 65504.0 ? std::abs(x) - 65504.0 : std::max(std::abs(x) * 0x1p-11, 0x1p-25);
  }
  ADD_FAILURE() << "the codec '" << codec << "' needs an error bound here";
  return 0.0;
}

// The most bytes that a codec may use for `n` coordinates.
size_t MostBytes(size_t n) { return 64 + 5 * n; }

LayoutPtr LayoutOf(int64_t n) {
  return test::MakeLayout({{.name = "first", .shape = {n / 3}},
                           {.name = "second", .shape = {n - n / 3}},
                           {.name = "counter", .shape = {}, .kind = TensorKind::kBuffer}});
}

// Of every magnitude that a float has, and its edges.
std::vector<float> FiniteValues(size_t n, uint64_t seed) {
  const float edges[] = {0.0F,
                         -0.0F,
                         1.0F,
                         65504.0F,
                         -65520.0F,
                         1e-8F,
                         std::numeric_limits<float>::max(),
                         std::numeric_limits<float>::lowest(),
                         std::numeric_limits<float>::min(),
                         std::numeric_limits<float>::denorm_min()};
  Rng rng(seed);
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    const int exponent = static_cast<int>(rng.UniformInt(60)) - 40;
    values[i] = i < std::size(edges)
                    ? edges[i]
                    : static_cast<float>(std::ldexp(rng.Uniform(-1.0, 1.0), exponent));
  }
  return values;
}

class CodecConformanceTest : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr int64_t kSize = 10'007;

  std::unique_ptr<const DeltaPayload> RoundTrip(absl::Span<const float> values) const {
    return codec_->Decode(codec_->Encode(values, context_), context_).value();
  }
  static std::vector<float> ValuesOf(const DeltaPayload& delta) {
    std::vector<float> values(kSize);
    delta.AddTo(1.0F, {0, kSize}, absl::MakeSpan(values));
    return values;
  }

  const std::unique_ptr<const Codec> codec_ = CreateCodec({{.name = GetParam()}}).value();
  const CodecContext context_{.layout = LayoutOf(kSize), .rng = Rng(1)};
};

TEST_P(CodecConformanceTest, DecodedValuesAreWithinTheErrorBound) {
  const std::vector<float> values = FiniteValues(kSize, 2);
  const auto delta = RoundTrip(values);
  EXPECT_THAT(delta->CheckFinite(), IsOk());
  const std::vector<float> decoded = ValuesOf(*delta);
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_NEAR(decoded[i], values[i], ErrorBound(GetParam(), values[i])) << i;
  }
}

TEST_P(CodecConformanceTest, LosslessMeansEqual) {
  const std::vector<float> values = FiniteValues(kSize, 3);
  EXPECT_EQ(codec_->lossless(), ValuesOf(*RoundTrip(values)) == values);
}

TEST_P(CodecConformanceTest, EncodingIsAFunctionOfItsInputs) {
  const std::vector<float> values = FiniteValues(kSize, 4);
  const std::string bytes = codec_->Encode(values, context_);
  EXPECT_EQ(codec_->Encode(values, context_), bytes);
  EXPECT_LE(bytes.size(), MostBytes(values.size()));
}

TEST_P(CodecConformanceTest, EncodingWhatWasDecodedLosesNothingMore) {
  const std::vector<float> once = ValuesOf(*RoundTrip(FiniteValues(kSize, 5)));
  const std::vector<float> twice = ValuesOf(*RoundTrip(once));
  for (size_t i = 0; i < once.size(); ++i) {
    ASSERT_NEAR(twice[i], once[i], ErrorBound(GetParam(), once[i]));
  }
}

TEST_P(CodecConformanceTest, AddingOverSplitRangesIsAddingOverTheWhole) {
  std::vector<float> values = FiniteValues(kSize, 6);
  for (float& v : values) v = std::clamp(v, -1e6F, 1e6F);
  const auto delta = RoundTrip(values);
  std::vector<float> whole = FiniteValues(kSize, 7);
  for (float& v : whole) v = std::clamp(v, -1e6F, 1e6F);
  std::vector<float> split = whole;
  delta->AddTo(0.37F, {0, kSize}, absl::MakeSpan(whole));
  Rng rng(8);
  for (int64_t begin = 0; begin < kSize;) {
    const int64_t end = std::min(kSize, begin + rng.UniformInt(700));
    delta->AddTo(0.37F, {begin, end},
                 absl::MakeSpan(split).subspan(static_cast<size_t>(begin),
                                               static_cast<size_t>(end - begin)));
    begin = end;
  }
  EXPECT_EQ(split, whole);
}

TEST_P(CodecConformanceTest, AddingIsOneMultiplyAndOneAdd) {
  std::vector<float> values = FiniteValues(kSize, 9);
  for (float& v : values) v = std::clamp(v, -1e6F, 1e6F);
  const auto delta = RoundTrip(values);
  const std::vector<float> decoded = ValuesOf(*delta);
  std::vector<float> accumulator(kSize, 0.125F);
  delta->AddTo(-1.7F, {0, kSize}, absl::MakeSpan(accumulator));
  for (size_t i = 0; i < decoded.size(); ++i) {
    const float product = -1.7F * decoded[i];
    ASSERT_EQ(accumulator[i], 0.125F + product) << i;
  }
}

TEST_P(CodecConformanceTest, TruncatedAndExtendedBytesAreRefused) {
  const std::string bytes = codec_->Encode(FiniteValues(kSize, 10), context_);
  for (const size_t size : {size_t{0}, size_t{1}, bytes.size() / 2, bytes.size() - 1,
                            bytes.size() + 1, bytes.size() + 4, 2 * bytes.size()}) {
    std::string other = bytes;
    other.resize(size, '\x01');
    EXPECT_THAT(codec_->Decode(other, context_),
                StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr(GetParam())))
        << size;
  }
}

TEST_P(CodecConformanceTest, GarbageIsRefusedOrIsSomeDelta) {
  const std::string good = codec_->Encode(FiniteValues(kSize, 11), context_);
  Rng rng(12);
  for (int round = 0; round < 50; ++round) {
    std::string garbage(
        round % 2 == 0 ? good.size() : static_cast<size_t>(rng.UniformInt(kSize * 4)), '\0');
    for (char& c : garbage) c = static_cast<char>(rng.Next());
    const auto delta = codec_->Decode(garbage, context_);
    if (!delta.ok()) {
      EXPECT_THAT(delta, StatusIs(absl::StatusCode::kInvalidArgument));
      continue;
    }
    // Adding must be safe, and must give finite values where CheckFinite says so.
    const std::vector<float> values = ValuesOf(**delta);
    const bool finite =
        std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
    EXPECT_EQ((*delta)->CheckFinite().ok(), finite);
  }
}

TEST_P(CodecConformanceTest, WhatIsNotFiniteIsFoundInItsTensor) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(kSize, 0.5F);
    values[kSize - 2] = bad;
    const auto delta = codec_->Decode(codec_->Encode(values, context_), context_);
    if (!delta.ok()) continue;  // a codec may refuse the form
    EXPECT_THAT((*delta)->CheckFinite(),
                StatusIs(absl::StatusCode::kOutOfRange, ::testing::HasSubstr("'second'")));
  }
}

TEST_P(CodecConformanceTest, ALayoutWithoutTrainablesIsAnEmptyDelta) {
  for (const int64_t n : {0, 1}) {
    const CodecContext context{.layout = LayoutOf(n)};
    const std::vector<float> values(static_cast<size_t>(n), 0.5F);
    TRIB_ASSERT_OK_AND_ASSIGN(const auto delta,
                              codec_->Decode(codec_->Encode(values, context), context));
    EXPECT_THAT(delta->CheckFinite(), IsOk());
    std::vector<float> accumulator(static_cast<size_t>(n));
    delta->AddTo(1.0F, {0, n}, absl::MakeSpan(accumulator));
    EXPECT_EQ(accumulator, values);
  }
}

std::vector<std::string> AllCodecs() {
  std::vector<std::string> names;
  for (const auto& entry : CodecRegistry().entries()) names.push_back(entry.name);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Codecs, CodecConformanceTest, ::testing::ValuesIn(AllCodecs()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace tributary
