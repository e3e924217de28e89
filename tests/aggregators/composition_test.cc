// The rows of docs/composition.md that concern the aggregation pipeline, one test each.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregators/pipeline.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/state_copy.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::tributary::test::CopyState;
using ::tributary::test::IsOk;
using ::tributary::test::MakeLayout;
using ::tributary::test::MakeParams;
using ::tributary::test::MakeUpdate;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;

absl::StatusOr<AggregationSpec> Parse(absl::string_view json) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(json));
  return config::Parse<AggregationSpec>(node, "aggregation");
}

absl::Status Refusal(absl::string_view json) { return Parse(json).status(); }

std::unique_ptr<Pipeline> Make(const LayoutPtr& layout, absl::string_view json) {
  auto spec = Parse(json);
  EXPECT_THAT(spec, IsOk());
  auto made = Pipeline::Create(*spec, layout);
  EXPECT_THAT(made, IsOk());
  return *std::move(made);
}

// The step that one update with this delta makes.
ParamVector Step(Pipeline& pipeline, const ParamVector& delta) {
  auto aggregator = pipeline.NewAggregator();
  EXPECT_THAT(aggregator, IsOk());
  EXPECT_THAT(
      (*aggregator)->Accumulate(MakeUpdate(delta, {.num_examples = 1, .local_steps = 1}), {}),
      IsOk());
  auto applied =
      pipeline.Apply(*std::move(aggregator), 0, [](absl::Span<float>) { return absl::OkStatus(); });
  EXPECT_THAT(applied, IsOk());
  return std::move(applied->model);
}

const LayoutPtr kRow = MakeLayout({{.name = "fc.weight", .shape = {1, 3}}});
constexpr char kMaskAndProjection[] = R"({"transforms": [
    {"prune_mask": {"density": 0.6}}, {"orthogonal_projection": {"energy": 1.0}}]})";

// Coordinate 1 is pruned and (0.6, 0.8, 0) protected.
void LearnBoth(Pipeline& pipeline, ParamVector& model) {
  ASSERT_THAT(pipeline.Learn(CollectKind::kExplore, {3, 1, 2}, 1, model.trainable(), 0), IsOk());
  ASSERT_THAT(
      pipeline.Learn(CollectKind::kSketch, {0.36, 0.48, 0, 0.64, 0, 0}, 1, model.trainable(), 0),
      IsOk());
}

TEST(CompositionTest, AMaskAfterAProjectionIsRefused) {
  EXPECT_THAT(Refusal(R"({"transforms": ["orthogonal_projection", "prune_mask"]})"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("prune_mask after orthogonal_projection brings back"),
                             HasSubstr("let the mask stand before"))));
}

TEST(CompositionTest, AMaskThatIsMadeAnewBeforeAProjectionIsRefused) {
  EXPECT_THAT(
      Refusal(
          R"({"transforms": [{"prune_mask": {"every_versions": 5}}, "clip", "orthogonal_projection"]})"),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("prune_mask with every_versions before orthogonal_projection"),
                     HasSubstr("leave every_versions out"))));
  EXPECT_THAT(Refusal(R"({"transforms": [{"prune_mask": {"every_versions": 5}}, "clip"]})"),
              IsOk());
}

TEST(CompositionTest, AMaskBeforeAProjectionIsOneProjectionOntoBoth) {
  const auto pipeline = Make(kRow, kMaskAndProjection);
  ParamVector model = MakeParams(kRow, {7, 8, 9});
  EXPECT_THAT(Step(*pipeline, MakeParams(kRow, {2, 1, -1})), ParamsNear({2, 1, -1}, 0));
  LearnBoth(*pipeline, model);
  EXPECT_THAT(model, ParamsNear({7, 0, 9}, 0));
  EXPECT_EQ(pipeline->mask()->count(), 2);
  EXPECT_THAT(Step(*pipeline, MakeParams(kRow, {2, 1, -1})), ParamsNear({0, 0, -1}, 1e-6));
}

TEST(CompositionTest, BothGoOnAfterARestart) {
  const auto before = Make(kRow, kMaskAndProjection), after = Make(kRow, kMaskAndProjection);
  ParamVector model(kRow);
  LearnBoth(*before, model);
  CopyState(before->State(), after->State());
  ASSERT_THAT(after->Restored(), IsOk());
  const ParamVector delta = RandomParams(kRow, 1);
  EXPECT_THAT(Step(*after, delta), ParamsNear(Step(*before, delta), 0));
  after->State().vectors.at("transform.0.mask")->values()[0] = 0.5F;
  EXPECT_THAT(after->Restored(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(CompositionTest, AnOptimizerThatReshapesAfterAProjectionIsRefused) {
  for (const auto& entry : OptimizerRegistry().entries()) {
    const auto optimizer =
        OptimizerRegistry().Create({entry.name, nlohmann::json::object(), {}}, OptimizerDeps{});
    ASSERT_THAT(optimizer, IsOk());
    const absl::Status status = Refusal(absl::StrCat(
        R"({"transforms": ["orthogonal_projection"], "optimizer": ")", entry.name, R"("})"));
    if ((*optimizer)->effect() == Effect::kScales) {
      EXPECT_THAT(status, IsOk()) << entry.name;
      continue;
    }
    EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                                 HasSubstr(absl::StrCat("optimizer ", entry.name,
                                                        " after orthogonal_projection"))));
  }
}

// Whatever its memory: a coordinate whose deltas were all 0 has a step of 0, to the bit.
TEST(CompositionTest, EveryOptimizerStaysInsideAMask) {
  const LayoutPtr layout = MakeLayout({{.name = "fc.weight", .shape = {4, 25}}});
  std::vector<double> explored(100);
  for (size_t i = 0; i < 100; ++i) explored[i] = static_cast<double>(i * 37 % 100);
  for (const auto& entry : OptimizerRegistry().entries()) {
    const auto pipeline =
        Make(layout,
             absl::StrCat(R"({"transforms": ["prune_mask"], "optimizer": ")", entry.name, R"("})"));
    ParamVector model(layout);
    ASSERT_THAT(pipeline->Learn(CollectKind::kExplore, explored, 1, model.trainable(), 0), IsOk());
    for (uint64_t version = 0; version < 5; ++version) {
      const ParamVector step = Step(*pipeline, RandomParams(layout, version));
      for (int64_t i = 0; i < 100; ++i) {
        if (!pipeline->mask()->Keeps(i)) {
          ASSERT_EQ(step.values()[static_cast<size_t>(i)], 0.0F) << entry.name;
        }
      }
      EXPECT_GT(SquaredNorm(step.values()), 0.0) << entry.name;
    }
  }
}

TEST(CompositionTest, AClipBesideThemKeepsBothConstraintsAndItsBound) {
  for (const char* transforms : {R"("clip", "prune_mask", "orthogonal_projection")",
                                 R"("prune_mask", "clip", "orthogonal_projection")",
                                 R"("prune_mask", "orthogonal_projection", "clip")"}) {
    std::string json = absl::StrCat(R"({"transforms": [)", transforms, "]}");
    const auto replace = [&](absl::string_view name, absl::string_view with) {
      json.replace(json.find(std::string(name)), name.size(), with.data(), with.size());
    };
    replace(R"("clip")", R"({"clip": {"norm": 0.5}})");
    replace(R"("prune_mask")", R"({"prune_mask": {"density": 0.6}})");
    const auto pipeline = Make(kRow, json);
    ParamVector model(kRow);
    LearnBoth(*pipeline, model);
    const ParamVector step = Step(*pipeline, MakeParams(kRow, {2, 1, -1}));
    EXPECT_NEAR(step.values()[0], 0, 1e-6);
    EXPECT_EQ(step.values()[1], 0);
    EXPECT_LT(step.values()[2], -0.1F);
    EXPECT_LE(SquaredNorm(step.values()), 0.25 + 1e-6);
  }
}

TEST(CompositionTest, ATransformThatStandsTwiceIsRefused) {
  for (const auto& entry : TransformRegistry().entries()) {
    EXPECT_THAT(
        Refusal(absl::StrCat(R"({"transforms": [")", entry.name, R"(", ")", entry.name, R"("]})")),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 HasSubstr(absl::StrCat(entry.name, " stands twice"))));
  }
}

TEST(CompositionTest, AModelThatATransformCannotTreatIsRefused) {
  const auto refusal = [](std::vector<ParamLayout::Tensor> tensors, absl::string_view json) {
    return Pipeline::Create(*Parse(json), MakeLayout(std::move(tensors))).status();
  };
  EXPECT_THAT(refusal({{.name = "fc.weight", .shape = {2, 2}},
                       {.name = "bn.running_mean", .shape = {2}, .kind = TensorKind::kBuffer}},
                      R"({"transforms": ["orthogonal_projection"]})"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("use group norm")));
  EXPECT_THAT(
      refusal({{.name = "conv.weight", .shape = {2, 2, 1, 1}}, {.name = "gn.weight", .shape = {2}}},
              R"({"transforms": [{"prune_mask": {"structured": true}}]})"),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("prune single weights")));
}

TEST(CompositionTest, WhatNoTransformAsksForIsNotTaken) {
  const auto pipeline = Make(kRow, R"({"transforms": ["prune_mask"]})");
  EXPECT_NE(pipeline->collects(CollectKind::kExplore), nullptr);
  EXPECT_EQ(pipeline->collects(CollectKind::kSketch), nullptr);
  ParamVector model(kRow);
  EXPECT_THAT(pipeline->Learn(CollectKind::kSketch, {1}, 1, model.trainable(), 0),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace tributary
