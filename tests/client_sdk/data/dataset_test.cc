#include "client_sdk/data/dataset.h"

#include <memory>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pointwise;

// Three images of 1×1×2 pixels.
Dataset TinyImages() {
  Dataset data;
  data.example_shape = {1, 1, 2};
  data.num_classes = 3;
  data.pixels = {0, 255, 51, 102, 153, 204};
  data.labels = {2, 0, 1};
  data.client_ids = {0, 1, 1};
  data.num_clients = 2;
  data.client_names = {"ann", "zoe"};
  return data;
}

Dataset TinyFeatures() {
  Dataset data;
  data.example_shape = {2};
  data.num_classes = 2;
  data.features = {1, 2, 3, 4};
  data.labels = {0, 1};
  return data;
}

// Two windows of three tokens and the one after them, of a vocabulary of five.
Dataset TinyText() {
  Dataset data;
  data.example_shape = {3};
  data.num_classes = 5;
  data.tokens = {0, 1, 2, 3, 3, 4, 0, 1};
  data.client_ids = {0, 1};
  data.num_clients = 2;
  return data;
}

TEST(DatasetTest, GathersNormalisedPixelsInTheOrderAsked) {
  Dataset data = TinyImages();
  data.mean = 0.5F;
  data.stddev = 0.25F;
  std::vector<float> inputs(4);
  std::vector<int64_t> targets(2);
  data.Gather({2, 0}, inputs.data(), targets.data());
  // (153/255 − 0.5)/0.25 = 0.4, (204/255 − 0.5)/0.25 = 1.2, (0 − 0.5)/0.25, (1 − 0.5)/0.25
  EXPECT_THAT(inputs, Pointwise(FloatNear(1e-6F), {0.4F, 1.2F, -2.0F, 2.0F}));
  EXPECT_THAT(targets, ElementsAre(1, 2));
}

TEST(DatasetTest, GathersNormalisedFeatures) {
  Dataset data = TinyFeatures();
  data.mean = 1;
  data.stddev = 2;
  std::vector<float> inputs(6);
  std::vector<int64_t> targets(3);
  data.Gather({1, 1, 0}, inputs.data(), targets.data());
  EXPECT_THAT(inputs, ElementsAre(1, 1.5, 1, 1.5, 0, 0.5));
  EXPECT_THAT(targets, ElementsAre(1, 1, 0));
}

TEST(DatasetTest, SubsetKeepsTheExamplesAndTheirOwners) {
  Dataset data = TinyImages();
  data.mean = 0.5F;
  const Dataset subset = data.Subset({2, 0});
  EXPECT_THAT(subset.Validate(), IsOk());
  EXPECT_THAT(subset.pixels, ElementsAre(153, 204, 0, 255));
  EXPECT_THAT(subset.features, IsEmpty());
  EXPECT_THAT(subset.labels, ElementsAre(1, 2));
  EXPECT_THAT(subset.client_ids, ElementsAre(1, 0));
  EXPECT_EQ(subset.num_clients, 2);
  EXPECT_THAT(subset.client_names, ElementsAre("ann", "zoe"));
  EXPECT_EQ(subset.num_classes, 3);
  EXPECT_EQ(subset.mean, 0.5F);
}

TEST(DatasetTest, GathersWindowsOfTokensAndWhatFollowsEach) {
  const Dataset data = TinyText();
  EXPECT_EQ(data.size(), 2);
  std::vector<int64_t> inputs(6);
  std::vector<int64_t> targets(6);
  data.GatherTokens({1, 0}, inputs.data(), targets.data());
  EXPECT_THAT(inputs, ElementsAre(3, 4, 0, 0, 1, 2));
  EXPECT_THAT(targets, ElementsAre(4, 0, 1, 1, 2, 3));
}

TEST(DatasetTest, ASubsetOfTextHasItsWindowsAndOwners) {
  const Dataset subset = TinyText().Subset({1});
  EXPECT_EQ(subset.size(), 1);
  EXPECT_THAT(subset.tokens, ElementsAre(3, 4, 0, 1));
  EXPECT_THAT(subset.client_ids, ElementsAre(1));
  EXPECT_THAT(subset.Validate(), IsOk());
}

TEST(DatasetTest, ViewOfAllHasEveryIndex) {
  const DataView view = DataView::All(std::make_shared<const Dataset>(TinyImages()));
  EXPECT_THAT(view.indices, ElementsAre(0, 1, 2));
  EXPECT_EQ(view.size(), 3);
}

TEST(DatasetTest, ValidateAcceptsEveryForm) {
  EXPECT_THAT(TinyImages().Validate(), IsOk());
  EXPECT_THAT(TinyFeatures().Validate(), IsOk());
  EXPECT_THAT(TinyText().Validate(), IsOk());
}

TEST(DatasetTest, ValidateRefusesTextThatDoesNotFit) {
  Dataset data = TinyText();
  data.tokens[5] = 5;
  EXPECT_THAT(data.Validate(), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("example 1: token 5 is out of range [0, 5)")));
  data = TinyText();
  data.tokens.pop_back();
  EXPECT_THAT(data.Validate(), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("7 tokens; expected a multiple of the 4")));
  data = TinyText();
  data.labels = {0, 1};
  EXPECT_THAT(data.Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("2 labels beside tokens")));
  data = TinyText();
  data.client_ids.pop_back();
  EXPECT_THAT(data.Validate(), StatusIs(absl::StatusCode::kInvalidArgument,
                                        HasSubstr("1 client ids for 2 examples")));
}

struct Spoiled {
  const char* name;
  void (*spoil)(Dataset&);
  const char* message;
};

class DatasetValidateTest : public ::testing::TestWithParam<Spoiled> {};

TEST_P(DatasetValidateTest, Refuses) {
  Dataset data = TinyImages();
  GetParam().spoil(data);
  EXPECT_THAT(data.Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    All, DatasetValidateTest,
    ::testing::Values(
        Spoiled{"LabelTooLarge", [](Dataset& d) { d.labels[1] = 3; },
                "example 1: label 3 is out of range [0, 3)"},
        Spoiled{"LabelNegative", [](Dataset& d) { d.labels[2] = -1; }, "example 2: label -1"},
        Spoiled{"ClientTooLarge", [](Dataset& d) { d.client_ids[0] = 2; },
                "example 0: client 2 is out of range [0, 2)"},
        Spoiled{"TooFewClients", [](Dataset& d) { d.client_ids.pop_back(); },
                "2 client ids for 3 examples"},
        Spoiled{"TooFewNames", [](Dataset& d) { d.client_names.pop_back(); },
                "1 client names for 2 clients"},
        Spoiled{"TooFewPixels", [](Dataset& d) { d.pixels.pop_back(); },
                "5 input values for 3 labels; expected 2"},
        Spoiled{"BothForms", [](Dataset& d) { d.features = {1}; }, "either pixels or features"},
        Spoiled{"NoShape", [](Dataset& d) { d.example_shape.clear(); }, "example_shape"},
        Spoiled{"ZeroDimension", [](Dataset& d) { d.example_shape[1] = 0; }, "example_shape"},
        Spoiled{"StddevZero", [](Dataset& d) { d.stddev = 0; }, "stddev must be positive"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace tributary
