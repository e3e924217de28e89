// What every server optimizer promises (aggregators/optimize/server_optimizer.h), over every
// registry entry: with its default options and with those of kOptions.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "aggregators/optimize/server_optimizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/state_copy.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/thread_parallel.h"

namespace tributary {
namespace {

using ::tributary::test::CopyState;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;
using ::tributary::test::ThreadParallel;

constexpr int kSteps = 6;

const std::vector<std::pair<const char*, const char*>> kOptions = {
    {"sgd", R"({"learning_rate": 0.3})"},
    {"momentum", R"({"learning_rate": 0.3, "momentum": 0})"},
    {"adagrad", R"({"beta1": 0.5, "tau": 0.1})"},
    {"adam", R"({"beta1": 0, "beta2": 0})"},
    {"yogi", R"({"beta1": 0, "beta2": 0.5, "tau": 1})"},
    {"outer_momentum", R"({"momentum": 0.9, "clip_value": 0.01})"},
    {"outer_momentum", R"({"learning_rate": 0.5, "penalty": "none", "clip_norm": 0.3})"},
    {"hypergradient", R"({"form": "raw", "bound": 5})"},
    {"hypergradient", R"({"variant": "global_momentum", "gain": 0.5})"},
    {"hypergradient", R"({"variant": "server_local"})"},
};

struct Case {
  config::Choice choice;
  std::string name;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const auto& entry : OptimizerRegistry().entries()) {
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

class OptimizerConformanceTest : public ::testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<ServerOptimizer> Make(Parallel* parallel = nullptr) {
    auto made =
        OptimizerRegistry().Create(GetParam().choice, {.layout = layout_, .parallel = parallel});
    EXPECT_THAT(made, IsOk());
    return *std::move(made);
  }
  // Step number `step` with a delta of its own.
  void Step(ServerOptimizer& optimizer, int step, ParamVector& model) {
    ParamVector delta = RandomParams(layout_, static_cast<uint64_t>(70 + step), 0.01F);
    ASSERT_THAT(optimizer.Step(delta.trainable(), {}), IsOk());
    AddScaled(1.0F, delta.trainable(), model.trainable());
  }

  const LayoutPtr layout_ = FlatLayout(20011, 7);
  const ParamVector start_ = RandomParams(layout_, 1);
};

TEST_P(OptimizerConformanceTest, AFreshOneDoesNothingWithoutADelta) {
  const auto optimizer = Make();
  for (int i = 0; i < 3; ++i) {
    ParamVector delta(layout_);
    ASSERT_THAT(optimizer->Step(delta.trainable(), {}), IsOk());
    EXPECT_THAT(delta, ParamsNear(ParamVector(layout_), 0));
  }
}

TEST_P(OptimizerConformanceTest, GoesTheWayOfTheDelta) {
  const ParamVector delta = RandomParams(layout_, 2, 0.01F);
  ParamVector step = delta.Clone();
  const auto optimizer = Make();
  ASSERT_THAT(optimizer->Step(step.trainable(), {}), IsOk());
  EXPECT_GT(Dot(step.trainable(), delta.trainable()), 0) << "the delta is added, not subtracted";
  EXPECT_GT(optimizer->rate(), 0);
  EXPECT_TRUE(std::isfinite(optimizer->rate()));
}

// Whatever stood before: a step beside the momentum is the same step, or an ordinary one.
TEST_P(OptimizerConformanceTest, AStepBesideTheMomentumGoesTheWayOfTheDelta) {
  ParamVector model = start_.Clone();
  const auto optimizer = Make();
  Step(*optimizer, 0, model);
  const ParamVector delta = RandomParams(layout_, 2, 0.01F);
  ParamVector step = delta.Clone();
  ASSERT_THAT(optimizer->StepBesideMomentum(step.trainable(), {}), IsOk());
  EXPECT_GT(Dot(step.trainable(), delta.trainable()), 0);
  EXPECT_THAT(optimizer->StepBesideMomentum(step.values(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(optimizer->StepBesideMomentum({}, {}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(OptimizerConformanceTest, HasTheSameBitsOnAnyNumberOfThreads) {
  ParamVector serial = start_.Clone();
  const auto alone = Make();
  for (int i = 0; i < kSteps; ++i) Step(*alone, i, serial);
  for (int64_t threads = 1; threads <= 4; ++threads) {
    ThreadParallel parallel(threads);
    ParamVector model = start_.Clone();
    const auto optimizer = Make(&parallel);
    for (int i = 0; i < kSteps; ++i) Step(*optimizer, i, model);
    EXPECT_THAT(model, ParamsNear(serial, 0)) << threads;
  }
}

TEST_P(OptimizerConformanceTest, GoesOnFromItsSavedStateToTheBit) {
  ParamVector unbroken = start_.Clone();
  const auto straight = Make();
  for (int i = 0; i < kSteps; ++i) Step(*straight, i, unbroken);
  ParamVector so_far = start_.Clone();
  const auto interrupted = Make();
  for (int cut = 0; cut < kSteps; ++cut) {
    const auto resumed = Make();
    CopyState(interrupted->State(), resumed->State());
    ParamVector model = so_far.Clone();
    for (int i = cut; i < kSteps; ++i) Step(*resumed, i, model);
    EXPECT_THAT(model, ParamsNear(unbroken, 0)) << "saved before step " << cut;
    Step(*interrupted, cut, so_far);
  }
}

// After a boundary behind which half of the coordinates no longer exist.
TEST_P(OptimizerConformanceTest, ANewEpochBringsNothingBackThatWasProjectedAway) {
  const size_t gone = start_.trainable().size() / 2;
  const auto project = [gone](absl::Span<float> values) {
    std::ranges::fill(values.first(gone), 0.0F);
    return absl::OkStatus();
  };
  ParamVector model = start_.Clone();
  const auto optimizer = Make();
  ASSERT_THAT(optimizer->BeginEpoch(project), IsOk()) << "before the first step";
  for (int i = 0; i < kSteps; ++i) Step(*optimizer, i, model);
  ASSERT_THAT(optimizer->BeginEpoch(project), IsOk());
  for (int i = 0; i < kSteps; ++i) {
    ParamVector delta = RandomParams(layout_, static_cast<uint64_t>(80 + i), 0.01F);
    ASSERT_THAT(project(delta.trainable()), IsOk());
    ASSERT_THAT(optimizer->Step(delta.trainable(), {}), IsOk());
    EXPECT_EQ(SquaredNorm(delta.trainable().first(gone)), 0) << i;
    EXPECT_GT(SquaredNorm(delta.trainable().subspan(gone)), 0) << i;
  }
}

TEST_P(OptimizerConformanceTest, WrongSizesChangeNothing) {
  ParamVector delta = start_.Clone();
  const auto optimizer = Make();
  EXPECT_THAT(optimizer->Step(delta.values(), {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(optimizer->Step({}, {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(delta, ParamsNear(start_, 0));
}

TEST_P(OptimizerConformanceTest, CanBeMadeWithoutALayoutToAskForItsEffect) {
  const auto made = OptimizerRegistry().Create(GetParam().choice, {});
  ASSERT_THAT(made, IsOk());
  EXPECT_EQ((*made)->effect(), Make()->effect());
}

INSTANTIATE_TEST_SUITE_P(Registry, OptimizerConformanceTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tributary
