#include "common/codec/adapter_step.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;

LoraTerms Terms(std::string rule) {
  LoraTerms terms{.rule = std::move(rule)};
  terms.spec.rank = 2;
  terms.spec.targets = {"a", "b"};
  return terms;
}

LayoutPtr Layout() {
  return MakeLayout({{"a.weight", {6, 4}}, {"b.weight", {3, 3}}, {"c.weight", {2, 2}}});
}

DownlinkSpec CodecOf(const std::string& name) {
  DownlinkSpec spec;
  if (!name.empty()) spec.codec.push_back({.name = name, .options = {}, .position = {}});
  return spec;
}

class AdapterStepTest : public ::testing::TestWithParam<std::string> {
 protected:
  explicit AdapterStepTest(std::string rule = "fedex") : terms_(Terms(std::move(rule))) {
    plan_ = LoraPlan::Create(terms_, *Layout()).value();
    before_ = plan_->FirstModel(RandomParams(Layout(), 1), 7);
    steps_ = AdapterStepCodec::Create(CodecOf(GetParam()), terms_).value();
  }
  // Factors for one module, values for the other, and new values of the adapter.
  AdapterStep Step() const {
    AdapterStep step;
    const ParamVector factors =
        RandomParams(MakeLayout({{"A", {1, 4}}, {"B", {6, 1}}, {"D", {3, 3}}}), 3);
    const auto values = [&](const char* name) {
      const auto view = factors.View(name);
      return std::vector<float>(view.begin(), view.end());
    };
    step.weights["a"] = {
        .factors = {.rows = 6, .columns = 4, .rank = 1, .b = values("B"), .a = values("A")},
        .dense = {}};
    step.weights["b"] = {.factors = {.rows = 3, .columns = 3}, .dense = values("D")};
    step.adapter = RandomParams(plan_->AdapterLayout(2), 4);
    return step;
  }

  const LoraTerms terms_;
  std::shared_ptr<const LoraPlan> plan_;
  ParamVector before_;
  std::unique_ptr<const AdapterStepCodec> steps_;
};

TEST_P(AdapterStepTest, BothEndsMakeTheSameVersionToTheBit) {
  AdapterStep step = Step();
  const std::string bytes = steps_->Encode(5, step).value();
  ParamVector server = before_.Clone(), client = before_.Clone();
  ApplyStep(*plan_, step, server);
  ASSERT_THAT(steps_->Apply(5, bytes, client), IsOk());
  EXPECT_EQ(server.ComputeDigest(), client.ComputeDigest());
  EXPECT_NE(server.ComputeDigest(), before_.ComputeDigest());
  // What is in neither module stays.
  EXPECT_TRUE(std::ranges::equal(client.View("c.weight"), before_.View("c.weight")));
}

TEST_P(AdapterStepTest, AnEmptyStepIsFourBytesAndChangesNothing) {
  AdapterStep none;
  const std::string bytes = steps_->Encode(5, none).value();
  EXPECT_EQ(bytes.size(), 4U);
  ParamVector model = before_.Clone();
  ASSERT_THAT(steps_->Apply(5, bytes, model), IsOk());
  EXPECT_EQ(model.ComputeDigest(), before_.ComputeDigest());
}

TEST_P(AdapterStepTest, RefusesWhatIsNoStepOfThisModel) {
  AdapterStep step = Step();
  const std::string good = steps_->Encode(5, step).value();
  const auto apply = [&](std::string bytes) {
    ParamVector model = before_.Clone();
    return steps_->Apply(5, std::move(bytes), model);
  };
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(apply(good.substr(0, size)).ok()) << size;
  }
  std::string long_layout = good;
  const uint32_t huge = 0xffffffffU;
  std::memcpy(long_layout.data(), &huge, sizeof(huge));
  EXPECT_THAT(apply(long_layout),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("states a layout of")));

  const auto of = [&](const std::string& module, ModuleDelta delta) {
    AdapterStep wrong;
    wrong.weights[module] = std::move(delta);
    return apply(steps_->Encode(5, wrong).value());
  };
  const std::vector<float> ones(24, 1.0F);
  EXPECT_THAT(of("c", {.factors = {.rows = 2, .columns = 2}, .dense = {1, 2, 3, 4}}),
              StatusIs(absl::StatusCode::kInvalidArgument))
      << "a module without an adapter";
  EXPECT_THAT(of("a", {.factors = {.rows = 4, .columns = 6}, .dense = ones}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another shape")));
  EXPECT_THAT(
      of("b", {.factors = {.rows = 3, .columns = 4, .rank = 1, .b = {1, 1, 1}, .a = {1, 1, 1, 1}},
               .dense = {}}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another shape")));
}

INSTANTIATE_TEST_SUITE_P(Codecs, AdapterStepTest, ::testing::Values("", "fp16", "int8", "zstd"),
                         [](const auto& codec) {
                           return codec.param.empty() ? std::string("none") : codec.param;
                         });

}  // namespace
}  // namespace tributary
