#include "aggregators/pipeline.h"

#include <cmath>
#include <limits>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::UnorderedElementsAre;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::MakeParams;
using ::tributary::test::MakeUpdate;
using ::tributary::test::ParamsNear;
using ::tributary::test::StatusIs;

constexpr float kMax = std::numeric_limits<float>::max();

absl::StatusOr<AggregationSpec> Parse(absl::string_view json) {
  TRIB_ASSIGN_OR_RETURN(const config::Node node, config::NodeFromJsonText(json));
  return config::Parse<AggregationSpec>(node, "aggregation");
}

// Combines these deltas and buffers with one example each, and applies them.
absl::StatusOr<Applied> ApplyAll(Pipeline& pipeline, ParamVector& model,
                                 const std::vector<std::vector<float>>& updates) {
  TRIB_ASSIGN_OR_RETURN(auto aggregator, pipeline.NewAggregator());
  for (const std::vector<float>& values : updates) {
    TRIB_RETURN_IF_ERROR(aggregator->Accumulate(
        MakeUpdate(MakeParams(model.layout(), values), {.num_examples = 1, .local_steps = 1}), {}));
  }
  TRIB_ASSIGN_OR_RETURN(Applied applied,
                        pipeline.Apply(std::move(aggregator), 0, [&](absl::Span<float> sums) {
                          AddScaled(1.0F, model.trainable(), sums);
                          return absl::OkStatus();
                        }));
  model = applied.model.Clone();
  return applied;
}

TEST(AggregationSpecTest, DefaultsAreCompleteAndWhatAnEmptySectionMeans) {
  const auto expected = nlohmann::json::parse(R"({
      "combine": {"fedavg": {"weights": "examples", "staleness": {"constant": {}}}},
      "transforms": [],
      "optimizer": {"sgd": {"learning_rate": 1.0}}})");
  EXPECT_EQ(config::Print(AggregationSpec()), expected);
  TRIB_ASSERT_OK_AND_ASSIGN(const AggregationSpec spec, Parse("{}"));
  EXPECT_EQ(config::Print(spec), expected);
  EXPECT_THAT(AggregationSpec().Validate(), IsOk());
}

TEST(AggregationSpecTest, RefusesATransformThatStandsTwice) {
  EXPECT_THAT(Parse(R"({"transforms": ["clip", {"clip": {"norm": 2}}]})").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("clip stands twice")));
}

TEST(AggregationSpecTest, RefusesUnknownNames) {
  EXPECT_THAT(Parse(R"({"optimizer": "adm"})").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("adam")));
}

TEST(CheckSoundOrderTest, OnlyFactorsMayFollowAProjection) {
  const PipelineStep project{"projection", Effect::kProjects}, clip{"clip", Effect::kScales},
      adam{"optimizer adam", Effect::kReshapes}, sgd{"optimizer sgd", Effect::kScales};
  EXPECT_THAT(CheckSoundOrder({}), IsOk());
  EXPECT_THAT(CheckSoundOrder({clip, adam}), IsOk());
  EXPECT_THAT(CheckSoundOrder({adam, project, clip, sgd}), IsOk());
  EXPECT_THAT(CheckSoundOrder({project, clip, adam}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("optimizer adam after projection"), HasSubstr("clip"))));
}

TEST(PipelineTest, GoesFromUpdatesToTheNextModel) {
  // Mean delta (3, 4), norm 5; clipped to (1.5, 2); added half.
  TRIB_ASSERT_OK_AND_ASSIGN(
      const AggregationSpec spec,
      Parse(
          R"({"transforms": [{"clip": {"norm": 2.5}}], "optimizer": {"sgd": {"learning_rate": 0.5}}})"));
  const LayoutPtr layout = FlatLayout(2, 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto pipeline, Pipeline::Create(spec, layout));
  ParamVector model = MakeParams(layout, {10, 20, 30});
  TRIB_ASSERT_OK_AND_ASSIGN(const Applied applied,
                            ApplyAll(*pipeline, model, {{2, 4, 7}, {4, 4, 9}}));
  EXPECT_THAT(model, ParamsNear({10.75, 21, 8}, 0)) << "buffers are replaced, not added";
  EXPECT_EQ(applied.updates, 2);
  EXPECT_EQ(applied.num_examples, 2);
  EXPECT_EQ(pipeline->rates().server, 0.5);
  EXPECT_EQ(applied.delta_norm, 5.0);
}

TEST(PipelineTest, KeepsTheOptimizersStateUnderItsName) {
  TRIB_ASSERT_OK_AND_ASSIGN(const AggregationSpec spec,
                            Parse(R"({"transforms": ["clip"], "optimizer": "adam"})"));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto pipeline, Pipeline::Create(spec, FlatLayout(1)));
  EXPECT_THAT(pipeline->State().vectors,
              UnorderedElementsAre(Key("optimizer.first_moment"), Key("optimizer.second_moment")));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto plain, Pipeline::Create(AggregationSpec(), FlatLayout(1)));
  EXPECT_THAT(plain->State().vectors, IsEmpty());
}

constexpr char kRawGlobal[] = R"({"form": "raw"})";

AggregationSpec WithHypergradient(AggregationSpec spec, absl::string_view options) {
  spec.hypergradient = {"hypergradient", nlohmann::json::parse(options), {}};
  return spec;
}

// The optimizer's steps are 1 and 0.5 + 1.5; h = 1·2.
TEST(PipelineTest, AHypergradientScalesTheOptimizersStep) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const AggregationSpec spec,
      Parse(R"({"optimizer": {"momentum": {"learning_rate": 0.5, "momentum": 0.5}}})"));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto pipeline,
                            Pipeline::Create(WithHypergradient(spec, kRawGlobal), FlatLayout(1)));
  EXPECT_THAT(pipeline->State().vectors,
              UnorderedElementsAre(Key("optimizer.velocity"), Key("hypergradient.previous")));
  EXPECT_THAT(pipeline->State().scalars, UnorderedElementsAre(Key("hypergradient.rate")));
  ParamVector model = MakeParams(FlatLayout(1), {10});
  ASSERT_THAT(ApplyAll(*pipeline, model, {{2}}), IsOk());
  EXPECT_THAT(model, ParamsNear({11}, 0));
  ASSERT_THAT(ApplyAll(*pipeline, model, {{3}}), IsOk());
  EXPECT_THAT(model, ParamsNear({11 + 3 * 2}, 0));
  EXPECT_EQ(pipeline->rates().server, 0.5 * 3);
  EXPECT_EQ(pipeline->rates().clients, 1.0);
}

TEST(PipelineTest, TellsTheClientsRate) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const auto pipeline,
      Pipeline::Create(WithHypergradient({}, R"({"variant": "server_local", "form": "raw"})"),
                       FlatLayout(1)));
  ParamVector model = MakeParams(FlatLayout(1), {10});
  ASSERT_THAT(ApplyAll(*pipeline, model, {{1}}), IsOk());
  ASSERT_THAT(ApplyAll(*pipeline, model, {{2}}), IsOk());
  EXPECT_EQ(pipeline->rates().clients, 3.0);
  EXPECT_EQ(pipeline->rates().server, 1.0);
  EXPECT_THAT(model, ParamsNear({13}, 0));
}

TEST(PipelineTest, RefusesTwoHypergradients) {
  TRIB_ASSERT_OK_AND_ASSIGN(const AggregationSpec spec,
                            Parse(R"({"optimizer": {"hypergradient": {"variant": "global"}}})"));
  EXPECT_THAT(WithHypergradient(spec, R"({"variant": "server_local"})").Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("keep one")));
  EXPECT_THAT(WithHypergradient({}, R"({"variant": "local"})").Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("variant")));
}

// Updates of squared norm 4 each, whose mean has 2: 4 / (2·(2 + 0.001)) < 1; opposed ones go
// further. The clip halves the step and leaves the rate.
TEST(PipelineTest, FedExpSeesTheUpdatesAsTheyCame) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const AggregationSpec spec,
      Parse(
          R"({"transforms": [{"clip": {"norm": 0.5}}], "optimizer": {"fedexp": {"epsilon": 1}}})"));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto pipeline, Pipeline::Create(spec, FlatLayout(2)));
  ParamVector model = MakeParams(FlatLayout(2), {0, 0});
  ASSERT_THAT(ApplyAll(*pipeline, model, {{2, 0}, {0, 2}}), IsOk());
  EXPECT_EQ(pipeline->rates().server, 1.0);
  ASSERT_THAT(ApplyAll(*pipeline, model, {{5, 0}, {-3, 0}}), IsOk());
  EXPECT_DOUBLE_EQ(pipeline->rates().server, 17.0 / (2 * (1 + 1)));
  EXPECT_NEAR(model.values()[0], 0.5 / std::sqrt(2.0) + 0.5 * 17 / 4, 1e-6);
}

TEST(PipelineTest, RefusesToApplyNothing) {
  const LayoutPtr layout = FlatLayout(1);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto pipeline, Pipeline::Create(AggregationSpec(), layout));
  ParamVector model(layout);
  EXPECT_THAT(ApplyAll(*pipeline, model, {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(PipelineTest, EndsWithTheErrorOfReadingTheModel) {
  const LayoutPtr layout = FlatLayout(1);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto pipeline, Pipeline::Create(AggregationSpec(), layout));
  TRIB_ASSERT_OK_AND_ASSIGN(auto aggregator, pipeline->NewAggregator());
  ASSERT_THAT(aggregator->Accumulate(
                  MakeUpdate(MakeParams(layout, {1}), {.num_examples = 1, .local_steps = 1}), {}),
              IsOk());
  const auto damaged = [](absl::Span<float>) { return absl::DataLossError("damaged"); };
  EXPECT_THAT(pipeline->Apply(std::move(aggregator), 0, damaged).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("damaged")));
}

TEST(PipelineTest, RefusesSumsThatOverflow) {
  const LayoutPtr layout = FlatLayout(2, 1);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto pipeline, Pipeline::Create(AggregationSpec(), layout));
  ParamVector model(layout);
  EXPECT_THAT(ApplyAll(*pipeline, model, {{0, kMax, 0}, {0, kMax, 0}}).status(),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("combined delta")));
  EXPECT_THAT(ApplyAll(*pipeline, model, {{0, 0, kMax}, {0, 0, kMax}}).status(),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("next model")));
  ParamVector large = MakeParams(layout, {kMax, 0, 0});
  EXPECT_THAT(ApplyAll(*pipeline, large, {{kMax, 0, 0}}).status(),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("next model")));
}

}  // namespace
}  // namespace tributary
