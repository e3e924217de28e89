// What every transform promises (aggregators/transform/update_transform.h), over every registry
// entry: with its default options and with those of kOptions.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregators/transform/update_transform.h"
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
using ::tributary::test::CopyState;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::ThreadParallel;

constexpr Version kVersions = 6;

const std::vector<std::pair<const char*, const char*>> kOptions = {
    {"clip", R"({"norm": 1e-3})"},
    {"clip", R"({"norm": 1e9})"},
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
    return *std::move(made);
  }
  // The delta that version `version` made of a fixed one.
  ParamVector Apply(UpdateTransform& transform, Version version) {
    Aggregate aggregate;
    aggregate.delta = RandomParams(layout_, static_cast<uint64_t>(50 + version), 0.1F);
    EXPECT_THAT(transform.Apply(aggregate, {.version = version}), IsOk());
    return std::move(aggregate.delta);
  }

  const LayoutPtr layout_ = FlatLayout(50021, 7);
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
    for (Version v = cut; v < kVersions; ++v) {
      EXPECT_THAT(Apply(*resumed, v), ParamsNear(Apply(*whole, v), 0));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, TransformConformanceTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
