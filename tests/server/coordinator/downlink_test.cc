// What every codec promises as a downlink codec, over every entry of the registry and over
// pipelines that people use.
#include "server/coordinator/downlink.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/codec/codec_registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::IsOk;
using test::RandomParams;
using ::testing::IsEmpty;
using ::testing::Not;

using Stages = std::vector<std::string>;

constexpr int64_t kTrainable = 2000;
constexpr float kStep = 0.01F;  // standard deviation

DownlinkSpec SpecOf(const Stages& stages) {
  DownlinkSpec spec;
  for (const std::string& name : stages) spec.codec.push_back({.name = name});
  return spec;
}

// A job whose model goes a step further with each version, and a client that takes every delta.
class Walk {
 public:
  explicit Walk(const Stages& stages)
      : layout_(FlatLayout(kTrainable, 10)),
        downlink_(Downlink::Create(SpecOf(stages)).value()),
        delta_(ModelDifference::Create(SpecOf(stages)).value()),
        published_(RandomParams(layout_, 1)),
        client_(published_.Clone()),
        sum_(published_.trainable().begin(), published_.trainable().end()) {}

  void Next() {
    ++version_;
    // A drift and noise: neither errors that keep their sign nor those that do not may add up.
    ParamVector model = published_.Clone();
    const ParamVector noise = RandomParams(layout_, 100 + static_cast<uint64_t>(version_), kStep);
    for (size_t i = 0; i < kTrainable; ++i) {
      const float step = noise.values()[i] + kStep * static_cast<float>(i % 3) / 2;
      model.values()[i] += step;
      sum_[i] += step;
      longest_step_ = std::max(longest_step_, std::abs(step));
    }
    std::copy(noise.buffers().begin(), noise.buffers().end(), model.buffers().begin());
    bytes_ = downlink_->Encode(version_, published_.Clone(), model);
    published_ = std::move(model);
    EXPECT_EQ(published_.buffers(), noise.buffers()) << "buffers are exact";
    if (bytes_.empty()) {
      client_ = published_.Clone();
      return;
    }
    ASSERT_THAT(delta_->Apply(version_, bytes_, client_), IsOk());
  }

  const std::string& bytes() const { return bytes_; }
  const ParamVector& published() const { return published_; }
  const ParamVector& client() const { return client_; }
  float longest_step() const { return longest_step_; }
  float residual(size_t i) const {
    const ParamVector& e = downlink_->residual();
    return e.empty() ? 0.0F : e.trainable()[i];
  }
  // How far what clients hold and what is still to come are from the sum of all steps.
  double Lost() const {
    double most = 0;
    for (size_t i = 0; i < kTrainable; ++i) {
      most = std::max(most, std::abs(sum_[i] - published_.values()[i] - residual(i)));
    }
    return most;
  }
  double Distance() const {
    double most = 0;
    for (size_t i = 0; i < kTrainable; ++i) {
      most = std::max<double>(most, std::abs(residual(i)));
    }
    return most;
  }

 private:
  const LayoutPtr layout_;
  const std::unique_ptr<Downlink> downlink_;
  const std::unique_ptr<const ModelDifference> delta_;
  ParamVector published_, client_;
  std::vector<double> sum_;  // of the first model and all steps
  Version version_ = 0;
  std::string bytes_;
  float longest_step_ = 0;
};

class DownlinkConformance : public ::testing::TestWithParam<Stages> {};

INSTANTIATE_TEST_SUITE_P(
    EveryCodec, DownlinkConformance, ::testing::ValuesIn([] {
      std::vector<Stages> all = {{}, {"topk", "int8"}, {"randk", "int4"}, {"topk", "sign", "zstd"}};
      for (const auto& entry : CodecRegistry().entries()) {
        all.push_back({entry.name});
      }
      return all;
    }()),
    [](const auto& entry) {
      return entry.param.empty() ? "exact" : absl::StrJoin(entry.param, "_");
    });

TEST_P(DownlinkConformance, ClientsHoldWhatIsPublishedAndNothingIsLost) {
  Walk walk(GetParam());
  for (int version = 1; version <= 200; ++version) {
    ASSERT_NO_FATAL_FAILURE(walk.Next());
    ASSERT_EQ(walk.client().ComputeDigest(), walk.published().ComputeDigest()) << version;
    ASSERT_LT(walk.bytes().size(), 4 * walk.published().values().size());
  }
  // Of 200 additions in float32 to values of a few units.
  EXPECT_LT(walk.Lost(), 200 * 0x1p-22);
}

// Each error is one version's: 254 steps span at most twice the longest step, one that waits too.
TEST(DownlinkTest, ErrorsOfInt8DoNotAddUp) {
  Walk walk({"int8"});
  for (int version = 1; version <= 200; ++version) {
    ASSERT_NO_FATAL_FAILURE(walk.Next());
    ASSERT_THAT(walk.bytes(), Not(IsEmpty()));
    EXPECT_GT(walk.Distance(), 0);
    EXPECT_LT(walk.Distance(), 1.1 * walk.longest_step() / 127) << version;
  }
}

TEST(DownlinkTest, WithoutALossTheVersionIsTheModel) {
  Walk walk({});
  for (int version = 1; version <= 5; ++version) ASSERT_NO_FATAL_FAILURE(walk.Next());
  EXPECT_THAT(walk.bytes(), Not(IsEmpty()));
  EXPECT_EQ(walk.Distance(), 0);
}

// Nothing in common with the version before: a delta would be no fewer bytes.
TEST(DownlinkTest, AVersionWithoutADeltaIsWholeAndSettlesWhatWasLeft) {
  const auto downlink = Downlink::Create(SpecOf({"raw"})).value();
  ParamVector before = RandomParams(FlatLayout(100), 1);
  ParamVector model = RandomParams(before.layout(), 2);
  downlink->residual() = RandomParams(before.layout(), 3);
  ParamVector expected = model.Clone();
  AddScaled(1.0F, downlink->residual().trainable(), expected.trainable());
  EXPECT_THAT(downlink->Encode(1, std::move(before), model), IsEmpty());
  EXPECT_EQ(model.ComputeDigest(), expected.ComputeDigest());
  EXPECT_TRUE(downlink->residual().empty());
}

TEST(DownlinkTest, ADifferenceThatIsNoFloatTravelsWhole) {
  const auto downlink = Downlink::Create(SpecOf({"int8"})).value();
  const LayoutPtr layout = FlatLayout(100);
  ParamVector before(layout), model(layout);
  std::fill(before.values().begin(), before.values().end(), -3e38F);
  std::fill(model.values().begin(), model.values().end(), 3e38F);
  const Digest made = model.ComputeDigest();
  EXPECT_THAT(downlink->Encode(1, std::move(before), model), IsEmpty());
  EXPECT_EQ(model.ComputeDigest(), made);
}

}  // namespace
}  // namespace tributary
