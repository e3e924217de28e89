#include "client_sdk/data/task_data.h"

#include <string>
#include <vector>

#include "client_sdk/data/dataset_spec.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;
using ::tributary::test::StatusIs;

absl::StatusOr<std::unique_ptr<Scenario>> Make(const std::string& name, nlohmann::json options) {
  return ScenarioRegistry().Create(
      config::Choice{.name = name, .options = std::move(options), .position = {}});
}

// Two examples of a 1×3×3 image, of classes 0 and 3.
LoadedData Images() {
  Dataset data;
  data.example_shape = {1, 3, 3};
  data.num_classes = 4;
  data.pixels = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19};
  data.labels = {0, 3};
  const auto shared = std::make_shared<const Dataset>(data);
  return {shared, shared};
}

TEST(TaskDataTest, PermutedTasksHoldTheSameValuesInAnotherOrder) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto scenario, Make("permuted", {{"seed", 4}}));
  const LoadedData data = Images();
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData first, scenario->Task(data, 0));
  EXPECT_EQ(first.train->pixels, data.train->pixels);
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData second, scenario->Task(data, 1));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData again, scenario->Task(data, 1));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData third, scenario->Task(data, 2));
  EXPECT_EQ(second.train->pixels, again.train->pixels);
  EXPECT_NE(second.train->pixels, third.train->pixels);
  EXPECT_THAT(second.train->pixels, UnorderedElementsAreArray(data.train->pixels));
  // Every example in the same order: the second is the first plus ten.
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(second.train->pixels[i + 9], second.train->pixels[i] + 10);
  }
  EXPECT_EQ(second.test->pixels, second.train->pixels);
}

TEST(TaskDataTest, RotatedTasksAreTurned) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto scenario, Make("rotated", {{"degrees", 90}}));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData turned, scenario->Task(Images(), 1));
  const std::vector<uint8_t> first(turned.train->pixels.begin(), turned.train->pixels.begin() + 9);
  EXPECT_THAT(first, ElementsAre(3, 6, 9, 2, 5, 8, 1, 4, 7));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData back, scenario->Task(Images(), 4));
  EXPECT_EQ(back.train->pixels, Images().train->pixels);
}

TEST(TaskDataTest, RotatedNeedsImages) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto scenario, Make("rotated", nlohmann::json::object()));
  Dataset flat = *Images().train;
  flat.example_shape = {9};
  const auto shared = std::make_shared<const Dataset>(flat);
  EXPECT_THAT(scenario->Task({shared, shared}, 0),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("needs images")));
}

TEST(TaskDataTest, SplitClassesGiveEachTaskItsOwn) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto scenario, Make("split_classes", {{"classes_per_task", 2}}));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData second, scenario->Task(Images(), 1));
  EXPECT_THAT(second.train->labels, ElementsAre(3));
  EXPECT_EQ(second.train->head.begin, 2);
  EXPECT_EQ(second.train->head.end, 4);
  EXPECT_EQ(second.train->num_classes, 4) << "the model has all classes";
  EXPECT_THAT(scenario->Task(Images(), 2),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("make 2 tasks")));
}

TEST(TaskDataTest, ASingleHeadTellsAllClassesApart) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto scenario,
                            Make("split_classes", {{"classes_per_task", 2}, {"heads", "single"}}));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData second, scenario->Task(Images(), 1));
  EXPECT_TRUE(second.train->head.empty());
}

TEST(TaskDataTest, DatasetsFollowOneAnotherAndMustFitOneModel) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const DatasetSpec spec,
      ParseDataFlag(
          "{dataset: synthetic, classes: 3, dimensions: 4, train_examples: 30, scenario: "
          "{datasets: {others: ['{dataset: synthetic, classes: 3, dimensions: 4, seed: 2, "
          "train_examples: 30}', '{dataset: synthetic, classes: 5, dimensions: 4}']}}}"));
  TRIB_ASSERT_OK_AND_ASSIGN(TaskData tasks, TaskData::Load(spec));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData first, tasks.Task(0));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData second, tasks.Task(1));
  EXPECT_NE(first.train->features, second.train->features);
  EXPECT_THAT(tasks.Task(2), StatusIs(absl::StatusCode::kInvalidArgument,
                                      HasSubstr("one model takes both only if they agree")));
  EXPECT_THAT(tasks.Task(3),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3 data sets")));
}

TEST(TaskDataTest, WithoutAScenarioEveryTaskIsAllOfTheData) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const DatasetSpec spec,
      ParseDataFlag("{dataset: synthetic, classes: 3, dimensions: 4, train_examples: 30}"));
  TRIB_ASSERT_OK_AND_ASSIGN(TaskData tasks, TaskData::Load(spec));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData first, tasks.Task(0));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData fifth, tasks.Task(4));
  EXPECT_EQ(first.train, fifth.train);
}

TEST(ScenarioTest, TextHasNoClassesAndNoValuesToRearrange) {
  Dataset text;
  text.example_shape = {2};
  text.num_classes = 256;
  text.tokens = {1, 2, 3};
  const auto shared = std::make_shared<const Dataset>(std::move(text));
  for (const std::string name : {"permuted", "split_classes"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto scenario, Make(name, nlohmann::json::object()));
    EXPECT_THAT(scenario->Task({shared, shared}, 0),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr(name + " needs labelled examples; the data are text")));
  }
}

}  // namespace
}  // namespace tributary
