// What every codec promises (common/codec/codec.h), over every entry of the registry alone and over
// the pipelines that people use. A new stage states its error bound in ErrorBound, and is tested.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/codec/codec.h"
#include "common/codec/codec_registry.h"
#include "common/codec/value_check.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;

// The largest |decoded − x| that a stage may make of a value x that it lets through, in a vector
// whose largest magnitude is `most`.
double ErrorBound(const std::string& stage, double x, double most) {
  x = std::abs(x);
  if (stage == "raw" || stage == "zstd") return 0.0;
  if (stage == "masked" || stage == "topk" || stage == "randk") return 0.0;
  if (stage == "fp16") return x > 65504.0 ? x - 65504.0 : std::max(x * 0x1p-11, 0x1p-25);
  if (stage == "bf16") return std::max(x * 0x1p-8, 0x1p-133);
  if (stage == "int8") return most / 127 * (1 + 1e-6);
  if (stage == "int4") return most / 7 * (1 + 1e-6);
  if (stage == "sign") return most + x;
  ADD_FAILURE() << "the codec '" << stage << "' needs an error bound here";
  return 0.0;
}

// The most bytes that a codec may use for `n` coordinates: those of raw and 1 %.
size_t MostBytes(size_t n) { return 64 + 4 * n + n / 25; }

// One codec under test: the stages of its list.
using Stages = std::vector<std::string>;

std::string NameOf(const Stages& stages) { return absl::StrJoin(stages, "_"); }

bool Selects(const Stages& stages) {
  return std::any_of(stages.begin(), stages.end(), [](const std::string& name) {
    return CodecRegistry().Create({.name = name}).value()->kind() == CodecStage::Kind::kSelector;
  });
}

std::unique_ptr<const Codec> Create(const Stages& stages) {
  std::vector<config::Choice> choices;
  for (const std::string& name : stages) choices.push_back({.name = name});
  // With error feedback, so that nothing is scaled.
  return CreateCodec(choices, /*error_feedback=*/true).value();
}

Mask EveryThird(int64_t size) {
  std::vector<bool> keep(static_cast<size_t>(size));
  for (size_t i = 0; i < keep.size(); i += 3) keep[i] = true;
  return Mask(keep);
}

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

void Clamp(std::vector<float>& values, float most) {
  for (float& v : values) v = std::clamp(v, -most, most);
}

double MostOf(const std::vector<float>& values) {
  double most = 0;
  for (const float v : values) most = std::max<double>(most, std::abs(v));
  return most;
}

class CodecConformanceTest : public ::testing::TestWithParam<Stages> {
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

  double Bound(double x, double most) const {
    double bound = 0;
    for (const std::string& stage : GetParam()) bound += ErrorBound(stage, x, most);
    return bound;
  }

  const std::unique_ptr<const Codec> codec_ = Create(GetParam());
  const Mask mask_ = EveryThird(kSize);
  const CodecContext context_{.layout = LayoutOf(kSize), .rng = Rng(1), .mask = &mask_};
};

TEST_P(CodecConformanceTest, DecodedValuesAreWithinTheErrorBound) {
  for (const bool extreme : {false, true}) {
    std::vector<float> values = FiniteValues(kSize, 2);
    if (!extreme) Clamp(values, 1.0F);
    const auto delta = RoundTrip(values);
    ASSERT_EQ(delta->CheckFinite().ok(), std::ranges::all_of(ValuesOf(*delta), IsAllowed));
    const std::vector<float> decoded = ValuesOf(*delta);
    const double most = MostOf(values);
    size_t arrived = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const bool left_out = Selects(GetParam()) && decoded[i] == 0;
      arrived += decoded[i] != 0;
      if (left_out) continue;
      ASSERT_NEAR(decoded[i], values[i], Bound(values[i], most)) << i;
    }
    EXPECT_GT(arrived, 0U);
  }
}

TEST_P(CodecConformanceTest, WhatAMaskLeavesOutNeverTravels) {
  if (GetParam().front() != "masked") return;
  const std::vector<float> decoded = ValuesOf(*RoundTrip(std::vector<float>(kSize, 1.0F)));
  for (int64_t i = 0; i < kSize; ++i) {
    if (mask_.Keeps(i)) continue;
    ASSERT_EQ(decoded[static_cast<size_t>(i)], 0.0F) << i;
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
  std::vector<float> values = FiniteValues(kSize, 5);
  Clamp(values, 1.0F);
  const std::vector<float> once = ValuesOf(*RoundTrip(values));
  const std::vector<float> twice = ValuesOf(*RoundTrip(once));
  for (size_t i = 0; i < once.size(); ++i) {
    const bool left_out = Selects(GetParam()) && twice[i] == 0;
    if (left_out) continue;
    ASSERT_NEAR(twice[i], once[i], Bound(once[i], MostOf(once))) << i;
  }
}

TEST_P(CodecConformanceTest, AddingOverSplitRangesIsAddingOverTheWhole) {
  std::vector<float> values = FiniteValues(kSize, 6);
  Clamp(values, 1e6F);
  const auto delta = RoundTrip(values);
  std::vector<float> whole = FiniteValues(kSize, 7);
  Clamp(whole, 1e6F);
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
  Clamp(values, 1e6F);
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
                StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr(": ")))
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
    // Half of the rounds get past a first byte that says how to read the others.
    if (round % 4 < 2 && !garbage.empty() && !good.empty()) garbage[0] = good[0];
    const auto delta = codec_->Decode(garbage, context_);
    if (!delta.ok()) {
      EXPECT_THAT(delta, StatusIs(absl::StatusCode::kInvalidArgument));
      continue;
    }
    // Adding must be safe, and must give allowed values where CheckFinite says so.
    const std::vector<float> values = ValuesOf(**delta);
    EXPECT_EQ((*delta)->CheckFinite().ok(), std::ranges::all_of(values, IsAllowed));
  }
}

TEST_P(CodecConformanceTest, WhatIsNotFiniteIsFound) {
  const auto leaves_out = [](absl::string_view selector) {
    return std::find(GetParam().begin(), GetParam().end(), selector) != GetParam().end();
  };
  if (leaves_out("randk") || leaves_out("masked")) return;  // it may not travel
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    std::vector<float> values(kSize, 0.5F);
    values[kSize - 2] = bad;
    const auto delta = codec_->Decode(codec_->Encode(values, context_), context_);
    if (!delta.ok()) continue;  // a codec may refuse the form
    // A block of chosen values may span tensors, and is not finite as a whole.
    EXPECT_THAT((*delta)->CheckFinite(),
                StatusIs(absl::StatusCode::kOutOfRange,
                         ::testing::HasSubstr(Selects(GetParam()) ? "'" : "'second'")));
  }
}

// Where a codec can judge a payload piece by piece, however it is cut.
TEST_P(CodecConformanceTest, PiecesAreJudgedAsTheWholeIs) {
  const std::string good = codec_->Encode(FiniteValues(kSize, 13), context_);
  Rng rng(14);
  for (int round = 0; round < 40; ++round) {
    std::string bytes = good;
    for (int damage = round % 4; damage > 0; --damage) {
      bytes[static_cast<size_t>(rng.UniformInt(static_cast<int64_t>(bytes.size())))] = '\xff';
      bytes[bytes.size() - 1] = round % 8 == 3 ? '\xff' : bytes[bytes.size() - 1];
    }
    const auto whole = codec_->Decode(bytes, context_);
    const absl::Status expected = whole.ok() ? (*whole)->CheckFinite() : whole.status();
    EXPECT_EQ(codec_->NewCheck(bytes.size() + 1, context_), nullptr);
    const auto check = codec_->NewCheck(bytes.size(), context_);
    if (check == nullptr) continue;
    for (absl::string_view rest = bytes; !rest.empty();) {
      const auto size = static_cast<size_t>(rng.UniformInt(round % 2 == 0 ? 9 : 5000));
      check->Take(rest.substr(0, size));
      rest.remove_prefix(std::min(size, rest.size()));
    }
    EXPECT_EQ(check->Finish(), expected);
  }
}

TEST_P(CodecConformanceTest, ALayoutWithoutTrainablesIsAnEmptyDelta) {
  for (const int64_t n : {0, 1}) {
    const Mask mask = EveryThird(n);
    const CodecContext context{.layout = LayoutOf(n), .mask = &mask};
    const std::vector<float> values(static_cast<size_t>(n), 0.5F);
    TRIB_ASSERT_OK_AND_ASSIGN(const auto delta,
                              codec_->Decode(codec_->Encode(values, context), context));
    EXPECT_THAT(delta->CheckFinite(), IsOk());
    std::vector<float> accumulator(static_cast<size_t>(n));
    delta->AddTo(1.0F, {0, n}, absl::MakeSpan(accumulator));
    EXPECT_EQ(accumulator, values);
  }
}

std::vector<Stages> AllCodecs() {
  std::vector<Stages> all;
  for (const auto& entry : CodecRegistry().entries()) all.push_back({entry.name});
  for (Stages stages : {
           Stages{"topk", "int8"},
           Stages{"topk", "int8", "zstd"},
           Stages{"masked", "topk", "int4"},
           Stages{"masked", "bf16"},
           Stages{"randk", "sign"},
           Stages{"topk", "randk", "fp16", "zstd"},
           Stages{"int8", "zstd"},
       }) {
    all.push_back(std::move(stages));
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Codecs, CodecConformanceTest, ::testing::ValuesIn(AllCodecs()),
                         [](const auto& param) { return NameOf(param.param); });

}  // namespace
}  // namespace tributary
