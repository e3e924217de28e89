#include "common/codec/version_delta.h"

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "common/codec/zstd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::IsOk;
using test::MakeParams;
using test::RandomParams;
using test::StatusIs;
using ::testing::HasSubstr;

constexpr float kMax = std::numeric_limits<float>::max();
constexpr float kTiny = std::numeric_limits<float>::denorm_min();

std::unique_ptr<const ModelDifference> Create(const std::vector<std::string>& codec) {
  DownlinkSpec spec;
  for (const std::string& name : codec) spec.codec.push_back({.name = name});
  return ModelDifference::Create(spec).value();
}

std::string Compressed(absl::string_view bytes) {
  return ZstdCompressor::Create({}).value()->Compress(bytes);
}

std::string Decompressed(absl::string_view bytes) {
  return ZstdCompressor::Create({}).value()->Decompress(bytes, 1 << 20).value();
}

// Every value of `kinds` into every other.
std::pair<ParamVector, ParamVector> EveryPair(const std::vector<float>& kinds) {
  std::vector<float> before, after;
  for (const float from : kinds) {
    for (const float to : kinds) {
      before.push_back(from);
      after.push_back(to);
    }
  }
  const LayoutPtr layout = FlatLayout(static_cast<int64_t>(before.size()) - 3, 3);
  return {MakeParams(layout, before), MakeParams(layout, after)};
}

// `model`, each value a step of this relative size further.
ParamVector Moved(const ParamVector& model, float relative, uint64_t seed) {
  ParamVector moved = RandomParams(model.layout(), seed, relative);
  for (size_t i = 0; i < moved.values().size(); ++i) {
    moved.values()[i] = model.values()[i] * (1 + moved.values()[i]);
  }
  return moved;
}

TEST(ExactVersionDelta, LeadsFromAnyFloatToAnyOtherToTheBit) {
  const auto delta = Create({});
  EXPECT_TRUE(delta->exact());
  auto [before, after] = EveryPair({0.0F, -0.0F, 1.0F, -1.0F, std::nextafter(1.0F, 2.0F), kTiny,
                                    -kTiny, kMax, -kMax, 1e-38F, 0.1F, -3e7F});
  ASSERT_THAT(delta->Apply(7, delta->Encode(7, before, after), before), IsOk());
  for (size_t i = 0; i < after.values().size(); ++i) {
    EXPECT_EQ(std::bit_cast<uint32_t>(before.values()[i]),
              std::bit_cast<uint32_t>(after.values()[i]))
        << i;
  }
}

// docs/wire_format.md: floats counted from the old value, the sign last, most significant bytes
// first.
TEST(ExactVersionDelta, HasTheBytesThatTheDocumentDraws) {
  const LayoutPtr layout = FlatLayout(4, 1);
  const float up = std::nextafter(1.0F, 2.0F), down = std::nextafter(1.0F, 0.0F);
  const ParamVector before = MakeParams(layout, {1, 1, -0.0F, 1, 5});
  const ParamVector after = MakeParams(layout, {up, down, 0, 2, 5});
  // +1, −1, +1, +2²³ and 0 floats: codes 2, 1, 2, 2²⁴ and 0.
  const std::string planes(
      "\0\0\0\1\0"
      "\0\0\0\0\0"
      "\0\0\0\0\0"
      "\2\1\2\0\0",
      20);
  EXPECT_EQ(Decompressed(Create({})->Encode(1, before, after)), planes);
}

TEST(ExactVersionDelta, IsSmallerTheLessHasChanged) {
  const auto delta = Create({});
  const ParamVector model = RandomParams(FlatLayout(50'000), 1);
  const auto share = [&](const ParamVector& after) {
    return static_cast<double>(delta->Encode(1, model, after).size()) / (4 * 50'000);
  };
  EXPECT_LT(share(model), 0.01);
  EXPECT_LT(share(Moved(model, 1e-5F, 2)), 0.4);
  EXPECT_LT(share(Moved(model, 1e-3F, 2)), 0.65);
  EXPECT_LT(share(Moved(model, 1e-1F, 2)), 0.9);
  EXPECT_LT(share(RandomParams(model.layout(), 3)), 1.01);
}

TEST(ExactVersionDelta, RefusesBytesThatAreNone) {
  const auto delta = Create({});
  const ParamVector before = RandomParams(FlatLayout(100), 1);
  const std::string good = delta->Encode(1, before, RandomParams(before.layout(), 2));
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "frame"},
      {"nonsense", "frame"},
      {good.substr(0, good.size() - 1), "frame"},
      {good + "x", "1 bytes after"},
      {Compressed(std::string(399, '\0')), "399 bytes in its planes"},
      {Compressed(std::string(401, '\0')), "at most 400"},
      {Compressed(std::string(1 << 20, '\0')), "at most 400"},
  };
  for (const auto& [bytes, message] : cases) {
    ParamVector model = before.Clone();
    EXPECT_THAT(delta->Apply(1, bytes, model),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

TEST(LossyVersionDelta, BothEndsMakeTheSameOfIt) {
  const LayoutPtr layout = FlatLayout(1000, 7);
  const ParamVector before = RandomParams(layout, 1), after = RandomParams(layout, 2);
  for (const auto& codec : std::vector<std::vector<std::string>>{
           {"bf16"}, {"int8"}, {"randk", "int4"}, {"topk", "sign", "zstd"}}) {
    const auto server = Create(codec), client = Create(codec);
    EXPECT_FALSE(server->exact());
    const std::string bytes = server->Encode(5, before, after);
    EXPECT_EQ(server->Encode(5, before, after), bytes) << "a function of its arguments";
    ParamVector there = before.Clone(), here = before.Clone();
    ASSERT_THAT(server->Apply(5, bytes, here), IsOk());
    ASSERT_THAT(client->Apply(5, bytes, there), IsOk());
    EXPECT_EQ(here.ComputeDigest(), there.ComputeDigest());
    EXPECT_EQ(here.buffers(), after.buffers()) << "buffers are whole";
    EXPECT_LT(bytes.size(), 4 * 1007U);
  }
}

TEST(LossyVersionDelta, RefusesBytesThatAreNone) {
  const auto delta = Create({"int8"});
  ParamVector model = RandomParams(FlatLayout(100, 2), 1);
  EXPECT_THAT(delta->Apply(1, "", model), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(delta->Apply(1, std::string(200, 'x'), model),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(VersionDeltaTest, RefusesACodecThatMakesNoSense) {
  DownlinkSpec spec;
  spec.codec = {{.name = "int8"}, {.name = "topk"}};
  EXPECT_THAT(ModelDifference::Create(spec).status(), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace tributary
