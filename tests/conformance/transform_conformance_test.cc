// What every transform promises (aggregators/transform/update_transform.h), over every registry
// entry: with its default options and with those of kOptions. What learns from clients has learnt
// once before it is applied, and learns again on the way.
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregators/transform/update_transform.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/state_copy.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/thread_parallel.h"

namespace tributary {
namespace {

using ::testing::Each;
using ::testing::Not;
using ::tributary::test::CopyState;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::ThreadParallel;

constexpr Version kVersions = 6;

const std::vector<std::pair<const char*, const char*>> kOptions = {
    {"clip", R"({"norm": 1e-3})"},
    {"clip", R"({"norm": 1e9})"},
    {"prune_mask", R"({"density": 0.1, "score": "agreement", "normalization": "robust"})"},
    {"prune_mask", R"({"structured": true, "width": 0.5, "score": "random"})"},
    {"orthogonal_projection", R"({"method": "sketch", "energy": 0.7, "biases": "frozen"})"},
    {"orthogonal_projection", R"({"criterion": "ref", "layers": ["fc*"], "biases": "ignored"})"},
};

struct Case {
  config::Choice choice;
  std::string name;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const auto& entry : TransformRegistry().entries()) {
    cases.push_back({{.name = entry.name, .options = nlohmann::json::object(), .position = {}},
                     absl::StrCat(entry.name, "_defaults")});
    for (const auto& [name, options] : kOptions) {
      if (entry.name != name) continue;
      cases.push_back({{.name = name, .options = nlohmann::json::parse(options), .position = {}},
                       absl::StrCat(name, "_options", cases.size())});
    }
  }
  return cases;
}

class TransformConformanceTest : public ::testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<UpdateTransform> Make(Parallel* parallel = nullptr) {
    auto made =
        TransformRegistry().Create(GetParam().choice, {.layout = layout_, .parallel = parallel});
    EXPECT_THAT(made, IsOk());
    Learn(**made, 0);
    return *std::move(made);
  }
  static std::vector<double> Sum(const UpdateTransform& transform, Version version) {
    Rng rng(static_cast<uint64_t>(90 + version));
    std::vector<double> sum(static_cast<size_t>(transform.collects()->layout->size()));
    for (double& x : sum) x = rng.Exponential(1.0);
    return sum;
  }
  // From fixed contributions; returns the model afterwards.
  ParamVector Learn(UpdateTransform& transform, Version version) {
    ParamVector model = RandomParams(layout_, 3);
    if (transform.collects() == nullptr) return model;
    EXPECT_THAT(transform.Learn(Sum(transform, version), 3, model.trainable(), {}), IsOk());
    return model;
  }
  // The delta that version `version` made of a fixed one, after learning at some versions.
  ParamVector Apply(UpdateTransform& transform, Version version) {
    if (version % 4 == 3) Learn(transform, version);
    Aggregate aggregate;
    aggregate.delta = RandomParams(layout_, static_cast<uint64_t>(50 + version), 0.1F);
    EXPECT_THAT(transform.Apply(aggregate, {.version = version}), IsOk());
    return std::move(aggregate.delta);
  }

  const LayoutPtr layout_ = MakeLayout({{.name = "conv1.weight", .shape = {17, 2, 3, 3}},
                                        {.name = "conv1.bias", .shape = {17}},
                                        {.name = "fc1.weight", .shape = {301, 68}},
                                        {.name = "fc1.bias", .shape = {301}},
                                        {.name = "fc2.weight", .shape = {10, 301}},
                                        {.name = "fc2.bias", .shape = {10}},
                                        {.name = "steps", .kind = TensorKind::kBuffer}});
};

TEST_P(TransformConformanceTest, LeavesBuffersAlone) {
  const ParamVector after = Apply(*Make(), 0);
  EXPECT_THAT(after.buffers(), ParamsNear(RandomParams(layout_, 50, 0.1F).buffers(), 0));
}

TEST_P(TransformConformanceTest, NothingStaysNothing) {
  Aggregate aggregate;
  aggregate.delta = ParamVector(layout_);
  ASSERT_THAT(Make()->Apply(aggregate, {}), IsOk());
  EXPECT_THAT(aggregate.delta.trainable(), Each(0.0F));
}

TEST_P(TransformConformanceTest, HasTheSameBitsOnAnyNumberOfThreads) {
  for (int64_t threads = 1; threads <= 4; ++threads) {
    ThreadParallel parallel(threads);
    const auto serial = Make(), parted = Make(&parallel);
    for (Version v = 0; v < kVersions; ++v) {
      EXPECT_THAT(Apply(*parted, v), ParamsNear(Apply(*serial, v), 0));
    }
  }
}

TEST_P(TransformConformanceTest, GoesOnFromItsSavedStateToTheBit) {
  for (Version cut = 0; cut < kVersions; ++cut) {
    const auto whole = Make(), resumed = Make();
    for (Version v = 0; v < cut; ++v) Apply(*whole, v);
    CopyState(whole->State(), resumed->State());
    ASSERT_THAT(resumed->Restored(), IsOk());
    for (Version v = cut; v < kVersions; ++v) {
      EXPECT_THAT(Apply(*resumed, v), ParamsNear(Apply(*whole, v), 0));
    }
  }
}

TEST_P(TransformConformanceTest, ChangesNothingMoreWhenAppliedAgain) {
  const auto transform = Make();
  Aggregate aggregate;
  aggregate.delta = Apply(*transform, 0);
  const ParamVector once = aggregate.delta.Clone();
  ASSERT_THAT(transform->Apply(aggregate, {}), IsOk());
  EXPECT_THAT(aggregate.delta, ParamsNear(once, 1e-6));
}

// Those that learn from clients; of these, those that make a mask.
class LearningTransformTest : public TransformConformanceTest {};
class MaskingTransformTest : public TransformConformanceTest {};

TEST_P(LearningTransformTest, AsksForTheSameWheneverItIsAsked) {
  const auto transform = Make(), other = Make();
  Learn(*transform, 1);
  EXPECT_EQ(transform->collects()->options_json, other->collects()->options_json);
  EXPECT_EQ(transform->collects()->layout->digest(), other->collects()->layout->digest());
  EXPECT_EQ(transform->collects()->layout->buffer_size(), 0);
  EXPECT_TRUE(nlohmann::json::accept(transform->collects()->options_json));
}

TEST_P(LearningTransformTest, ASumThatIsNoGoodLeavesEverythingAsItWas) {
  const auto transform = Make(), untouched = Make();
  const std::vector<double> good = Sum(*transform, 1);
  std::vector<std::vector<double>> bad(3, good);
  bad[0].pop_back();
  bad[1][good.size() / 2] = std::numeric_limits<double>::quiet_NaN();
  bad[2].back() = std::numeric_limits<double>::infinity();
  for (const std::vector<double>& sum : bad) {
    ParamVector model = RandomParams(layout_, 3);
    EXPECT_THAT(transform->Learn(sum, 3, model.trainable(), {}), Not(IsOk()));
    EXPECT_THAT(model, ParamsNear(RandomParams(layout_, 3), 0));
  }
  EXPECT_THAT(Apply(*transform, 0), ParamsNear(Apply(*untouched, 0), 0));
}

TEST_P(MaskingTransformTest, KeepsModelAndDeltaInsideItsMask) {
  const auto transform = Make();
  const ParamVector model = Learn(*transform, 1), delta = Apply(*transform, 0);
  const auto mask = transform->mask();
  ASSERT_NE(mask, nullptr);
  ASSERT_EQ(mask->size(), layout_->trainable_size());
  const ParamVector before = RandomParams(layout_, 3);
  for (int64_t i = 0; i < mask->size(); ++i) {
    const auto at = static_cast<size_t>(i);
    ASSERT_EQ(model.values()[at], mask->Keeps(i) ? before.values()[at] : 0.0F) << i;
    if (!mask->Keeps(i)) {
      ASSERT_EQ(delta.values()[at], 0.0F) << i;
    }
  }
}

std::vector<Case> CasesWith(bool (*trait)(const UpdateTransform&)) {
  std::vector<Case> cases = Cases();
  std::erase_if(cases, [trait](const Case& c) {
    return !trait(**TransformRegistry().Create(c.choice, TransformDeps{}));
  });
  return cases;
}

bool Learns(const UpdateTransform& transform) { return transform.collects() != nullptr; }
bool Masks(const UpdateTransform& transform) { return transform.effect() == Effect::kMasks; }

INSTANTIATE_TEST_SUITE_P(Registry, LearningTransformTest, ::testing::ValuesIn(CasesWith(Learns)),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Registry, MaskingTransformTest, ::testing::ValuesIn(CasesWith(Masks)),
                         [](const auto& test) { return test.param.name; });
INSTANTIATE_TEST_SUITE_P(Registry, TransformConformanceTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
