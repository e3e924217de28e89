// The formats int8, int4 and sign against a decoder of their own, written from the byte table in
// docs/wire_format.md. What all formats promise is in tests/conformance/codec_conformance_test.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/codec/codec.h"
#include "common/codec/codec_registry.h"
#include "common/codec/stage.h"
#include "common/codec/value_check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

constexpr float kMax = std::numeric_limits<float>::max();
constexpr float kMin = std::numeric_limits<float>::min();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Case {
  std::string stage;
  size_t bits;
  size_t block;
  std::string rounding;  // empty: the stage has no such option

  bool sign() const { return bits == 1; }
  int largest() const { return (1 << (bits - 1)) - 1; }
  nlohmann::json options() const {
    nlohmann::json json = {{"block", block}};
    if (!rounding.empty()) json["rounding"] = rounding;
    return json;
  }
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.stage << "_" << c.block << (c.rounding.empty() ? "" : "_") << c.rounding;
}

std::unique_ptr<Format> MakeFormat(const Case& c) {
  auto stage = CodecRegistry().Create({.name = c.stage, .options = c.options()}).value();
  return std::unique_ptr<Format>(dynamic_cast<Format*>(stage.release()));
}

std::string Encode(const Format& format, absl::Span<const float> values, uint64_t seed = 1) {
  std::string bytes;
  format.Encode(values, Rng(seed), bytes);
  return bytes;
}

std::vector<float> Decode(const Format& format, const std::string& bytes, size_t count) {
  std::vector<float> values(count);
  format.AddTo(bytes, count, 1.0F, {0, static_cast<int64_t>(count)}, absl::MakeSpan(values));
  return values;
}

float ScaleAt(const std::string& bytes, size_t block) {
  float scale;
  std::memcpy(&scale, bytes.data() + 4 * block, 4);
  return scale;
}

// Of value i out of `count`, by the byte table.
float ValueAt(const Case& c, const std::string& bytes, size_t count, size_t i) {
  const size_t codes = 4 * ((count + c.block - 1) / c.block);
  const auto byte = static_cast<uint8_t>(bytes[codes + i * c.bits / 8]);
  int code = byte >> (i * c.bits % 8) & ((1 << c.bits) - 1);
  if (c.sign()) {
    code = code == 0 ? 1 : -1;
  } else if (code > c.largest()) {
    code -= 1 << c.bits;
  }
  return ScaleAt(bytes, i / c.block) * static_cast<float>(code);
}

std::vector<float> NormalValues(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(rng.Normal(0.0, 0.01));
  return values;
}

class BlockFormatTest : public ::testing::TestWithParam<Case> {
 protected:
  const Case& c_ = GetParam();
  const std::unique_ptr<Format> format_ = MakeFormat(c_);
};

TEST_P(BlockFormatTest, TakesOneScaleABlockAndItsBitsAValue) {
  for (const size_t count :
       {0UL, 1UL, 2UL, 7UL, 8UL, 9UL, c_.block - 1, c_.block, c_.block + 1, 3 * c_.block + 5}) {
    const size_t blocks = (count + c_.block - 1) / c_.block;
    EXPECT_EQ(format_->BytesOf(count), 4 * blocks + (count * c_.bits + 7) / 8) << count;
    EXPECT_LE(format_->BytesOf(count), 4 * count + 8) << count;
    std::string bytes = "before";
    format_->Encode(NormalValues(count, 1), Rng(1), bytes);
    EXPECT_EQ(bytes.size(), 6 + format_->BytesOf(count)) << count;
    EXPECT_EQ(bytes.substr(0, 6), "before");
    EXPECT_THAT(format_->Check(bytes.substr(6), count), IsOk());
  }
}

TEST_P(BlockFormatTest, DecodesAsTheByteTableSays) {
  const size_t count = 5 * c_.block + 13;
  const std::string bytes = Encode(*format_, NormalValues(count, 2));
  const std::vector<float> values = Decode(*format_, bytes, count);
  for (size_t i = 0; i < count; ++i) ASSERT_EQ(values[i], ValueAt(c_, bytes, count, i)) << i;
}

TEST_P(BlockFormatTest, AddsAnyRangeOfAnyBytesToTheBit) {
  const size_t count = 3 * c_.block + 11;
  std::string bytes(format_->BytesOf(count), '\0');
  Rng rng(3);
  for (char& byte : bytes) byte = static_cast<char>(rng.Next());
  const size_t blocks = (count + c_.block - 1) / c_.block;
  for (size_t b = 0; b < blocks; ++b) {
    const float scale = static_cast<float>(rng.Uniform());
    std::memcpy(bytes.data() + 4 * b, &scale, 4);
  }
  for (int round = 0; round < 200; ++round) {
    const auto begin = static_cast<size_t>(rng.UniformInt(static_cast<int64_t>(count) + 1));
    const size_t end =
        begin + static_cast<size_t>(rng.UniformInt(static_cast<int64_t>(count - begin) + 1));
    std::vector<float> sum = NormalValues(end - begin, 4);
    std::vector<float> expected = sum;
    for (size_t i = begin; i < end; ++i) {
      const float product = -0.3F * ValueAt(c_, bytes, count, i);
      expected[i - begin] += product;
    }
    format_->AddTo(bytes, count, -0.3F, {static_cast<int64_t>(begin), static_cast<int64_t>(end)},
                   absl::MakeSpan(sum));
    ASSERT_EQ(sum, expected) << begin << " to " << end;
  }
}

TEST_P(BlockFormatTest, IsWithinItsErrorOfEachBlocksScale) {
  const size_t count = 4 * c_.block + 3;
  std::vector<float> values = NormalValues(count, 5);
  for (size_t i = 0; i < c_.block; ++i) values[i] *= 1e6F;  // one block large, its neighbour not
  const std::string bytes = Encode(*format_, values);
  const std::vector<float> decoded = Decode(*format_, bytes, count);
  for (size_t i = 0; i < count; ++i) {
    const double scale = ScaleAt(bytes, i / c_.block);
    if (c_.sign()) {
      ASSERT_EQ(std::abs(decoded[i]), ScaleAt(bytes, i / c_.block));
      ASSERT_EQ(std::signbit(decoded[i]), std::signbit(values[i]));
    } else {
      const double steps = c_.rounding == "nearest" ? 0.5 : 1.0;
      ASSERT_LE(std::abs(decoded[i] - values[i]), scale * (steps + 0x1p-16)) << i;
    }
  }
}

TEST_P(BlockFormatTest, ScalesAreWhatTheHeaderSays) {
  const std::vector<float> values = NormalValues(c_.block + 9, 6);
  const std::string bytes = Encode(*format_, values);
  for (const auto& [block, begin, end] :
       {std::tuple<size_t, size_t, size_t>(0, 0, c_.block), {1, c_.block, c_.block + 9}}) {
    double sum = 0.0, largest = 0.0;
    for (size_t i = begin; i < end; ++i) {
      sum += std::abs(values[i]);
      largest = std::max(largest, static_cast<double>(std::abs(values[i])));
    }
    const double expected =
        c_.sign() ? sum / static_cast<double>(end - begin) : largest / c_.largest();
    EXPECT_NEAR(ScaleAt(bytes, block), expected, expected * 0x1p-23);
  }
}

TEST_P(BlockFormatTest, ZerosStayZeroBesideABlockThatIsNot) {
  std::vector<float> values(2 * c_.block, 0.0F);
  values[c_.block] = 1.0F;
  values[1] = -0.0F;
  const std::string bytes = Encode(*format_, values);
  EXPECT_EQ(ScaleAt(bytes, 0), 0.0F);
  std::vector<float> decoded = Decode(*format_, bytes, values.size());
  EXPECT_GT(decoded[c_.block], 0.0F);
  decoded.resize(c_.block);
  EXPECT_THAT(decoded, Each(0.0F));
}

TEST_P(BlockFormatTest, TheEndsOfTheFloatRangeSurvive) {
  for (const float largest : {kTiny, 3 * kTiny, 100 * kTiny, kMin, 10 * kMin, kMax / 2,
                              std::nextafter(kMax, 0.0F), kMax}) {
    std::vector<float> values(c_.block, largest);
    values[1] = -largest;
    values[2] = 0.0F;
    const std::string bytes = Encode(*format_, values);
    EXPECT_THAT(format_->Check(bytes, values.size()), IsOk());
    const double scale = ScaleAt(bytes, 0);
    const std::vector<float> decoded = Decode(*format_, bytes, values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_TRUE(std::isfinite(decoded[i])) << largest;
      if (c_.sign()) continue;
      ASSERT_LE(std::abs(static_cast<double>(decoded[i]) - values[i]), scale * (1 + 0x1p-16))
          << largest;
    }
  }
}

TEST_P(BlockFormatTest, WhatIsNotFiniteSpoilsItsBlockOnly) {
  for (const float bad : {kNaN, -kNaN, kInfinity, -kInfinity}) {
    std::vector<float> values = NormalValues(3 * c_.block, 7);
    values[c_.block + 3] = bad;
    const std::string bytes = Encode(*format_, values);
    EXPECT_THAT(format_->Check(bytes, values.size()), IsOk());
    const std::vector<float> decoded = Decode(*format_, bytes, values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::isnan(decoded[i]), i / c_.block == 1) << bad << " " << i;
    }
  }
}

TEST_P(BlockFormatTest, NegativeScalesAreRefused) {
  std::string bytes = Encode(*format_, NormalValues(2 * c_.block, 8));
  bytes[7] = static_cast<char>(bytes[7] | 0x80);
  EXPECT_THAT(format_->Check(bytes, 2 * c_.block),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(c_.stage), HasSubstr("scale of block 1 is -"))));
}

TEST_P(BlockFormatTest, BitsThatAreLeftOverAreZero) {
  if (c_.bits == 8) return;
  const size_t count = c_.block + 1;
  std::string bytes = Encode(*format_, NormalValues(count, 9));
  EXPECT_EQ(static_cast<uint8_t>(bytes.back()) >> c_.bits, 0);
  bytes.back() = static_cast<char>(bytes.back() | 0x80);
  EXPECT_THAT(format_->Check(bytes, count),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(c_.stage),
                             HasSubstr(absl::StrCat("highest ", 8 - c_.bits, " bits")))));
}

TEST_P(BlockFormatTest, OnlyStochasticRoundingDrawsFromTheGenerator) {
  const std::vector<float> values = NormalValues(1000, 10);
  EXPECT_EQ(Encode(*format_, values, 1), Encode(*format_, values, 1));
  EXPECT_EQ(Encode(*format_, values, 1) == Encode(*format_, values, 2),
            c_.rounding != "stochastic");
}

INSTANTIATE_TEST_SUITE_P(
    Blocks, BlockFormatTest,
    ::testing::Values(Case{"int8", 8, 16, "nearest"}, Case{"int8", 8, 256, "stochastic"},
                      Case{"int8", 8, 1000, "nearest"}, Case{"int4", 4, 24, "stochastic"},
                      Case{"int4", 4, 256, "nearest"}, Case{"int4", 4, 1000, "stochastic"},
                      Case{"sign", 1, 16, ""}, Case{"sign", 1, 1024, ""},
                      Case{"sign", 1, 1000, ""}),
    [](const auto& test) { return ::testing::PrintToString(test.param); });

std::string Hex(absl::string_view bytes) {
  std::string hex;
  for (const char byte : bytes) absl::StrAppend(&hex, absl::Hex(byte, absl::kZeroPad2), " ");
  return hex;
}

TEST(FormatBytesTest, AreAsDocumented) {
  // A scale of 1 (0x3f800000), or a mean of 1.
  EXPECT_EQ(Hex(Encode(*MakeFormat({"int8", 8, 16, "nearest"}),
                       {127.0F, -127.0F, 0.4F, 0.6F, -0.6F, 1.5F, 2.5F})),
            "00 00 80 3f 7f 81 00 01 ff 02 02 ");
  EXPECT_EQ(Hex(Encode(*MakeFormat({"int4", 4, 16, "nearest"}), {7.0F, -7.0F, -1.0F, 2.6F, 1.0F})),
            "00 00 80 3f 97 3f 01 ");
  EXPECT_EQ(Hex(Encode(*MakeFormat({"sign", 1, 16, ""}),
                       {-1.0F, 2.0F, 0.0F, -0.0F, -2.0F, 1.0F, 1.0F, -1.0F, -1.0F, 1.0F})),
            "00 00 80 3f 99 01 ");
}

// Many values at one place between two codes: how often is each taken?
double MeanOf(const Case& c, float value, size_t count) {
  std::vector<float> values(count, value);
  values[0] = static_cast<float>(c.largest());  // makes the scale 1
  const auto format = MakeFormat(c);
  double sum = 0.0;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    const std::vector<float> decoded = Decode(*format, Encode(*format, values, seed), count);
    for (size_t i = 1; i < count; ++i) sum += decoded[i];
  }
  return sum / static_cast<double>(8 * (count - 1));
}

TEST(StochasticRoundingTest, IsRightInTheMean) {
  constexpr size_t kCount = 65536;
  for (const Case& c :
       {Case{"int8", 8, kCount, "stochastic"}, Case{"int4", 4, kCount, "stochastic"}}) {
    for (const float value : {0.3F, -0.3F, 0.001F, -2.75F, 5.5F, -6.9F, 6.999F}) {
      const double fraction = value - std::floor(value);
      const double deviation = std::sqrt(fraction * (1 - fraction) / (8.0 * (kCount - 1)));
      EXPECT_NEAR(MeanOf(c, value, kCount), value, 5 * deviation) << c.stage << " " << value;
    }
  }
}

TEST(StochasticRoundingTest, LeavesWholeStepsAsTheyAre) {
  for (const Case& c :
       {Case{"int8", 8, 65536, "stochastic"}, Case{"int4", 4, 65536, "stochastic"}}) {
    for (int code = -c.largest(); code <= c.largest(); ++code) {
      ASSERT_EQ(MeanOf(c, static_cast<float>(code), 4096), code) << c.stage;
    }
  }
}

TEST(StochasticRoundingTest, NeighboursAreRoundedIndependently) {
  constexpr size_t kCount = 65536;
  std::vector<float> values(kCount, 0.5F);
  values[0] = 127.0F;
  const auto format = MakeFormat({"int8", 8, kCount, "stochastic"});
  const std::vector<float> decoded = Decode(*format, Encode(*format, values), kCount);
  for (const size_t lag : {1, 2, 3, 4, 256}) {
    int equal = 0;
    for (size_t i = 1; i + lag < kCount; ++i) equal += decoded[i] == decoded[i + lag] ? 1 : 0;
    EXPECT_NEAR(equal, kCount / 2, 5 * std::sqrt(kCount) / 2) << lag;
  }
}

TEST(BlockFormatOptionsTest, AreChecked) {
  const auto made = [](const std::string& name, const nlohmann::json& options) {
    return CodecRegistry().Create({.name = name, .options = options}).status();
  };
  using absl::StatusCode;
  for (const std::string stage : {"int8", "int4", "sign"}) {
    EXPECT_THAT(made(stage, {{"block", 16}}), IsOk());
    EXPECT_THAT(made(stage, {{"block", 65536}}), IsOk());
    EXPECT_THAT(made(stage, {{"block", 20}}),
                StatusIs(StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("block"), HasSubstr("found 20"), HasSubstr("of 8"))));
    EXPECT_THAT(made(stage, {{"block", 8}}), StatusIs(StatusCode::kInvalidArgument));
    EXPECT_THAT(made(stage, {{"block", 65544}}), StatusIs(StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(made("int8", {{"rounding", "up"}}),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("stochastic")));
  EXPECT_THAT(made("sign", {{"rounding", "nearest"}}), StatusIs(StatusCode::kInvalidArgument));
}

TEST(BlockFormatPayloadTest, AScaleThatIsTooLargeIsFound) {
  const CodecContext context{.layout = test::FlatLayout(20)};
  for (const std::string stage : {"int8", "int4", "sign"}) {
    const auto codec = CreateCodec({{.name = stage, .options = {{"block", 16}}}}).value();
    const std::string good = codec->Encode(NormalValues(20, 11), context);
    for (const float scale : {0x1p40F, kValueLimit, kMax, kInfinity, kNaN}) {
      std::string bytes = good;
      std::memcpy(bytes.data() + 4, &scale, 4);  // of coordinates 16 to 19
      TRIB_ASSERT_OK_AND_ASSIGN(const auto delta, codec->Decode(bytes, context));
      EXPECT_EQ(delta->CheckFinite().ok(), scale == 0x1p40F) << stage << " " << scale;
    }
  }
}

}  // namespace
}  // namespace tributary
