#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "client_sdk/data/readers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::StatusIs;
using test::TempDir;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Ten examples; the feature tells which.
std::string TenRows() {
  std::string text = "x,y\n";
  for (int i = 0; i < 10; ++i) text += std::to_string(i) + "," + std::to_string(i % 2) + "\n";
  return text;
}

DatasetSpec CsvSpec(const std::string& path) {
  DatasetSpec spec;
  spec.dataset = "csv";
  spec.path = path;
  spec.label = "y";
  spec.test_fraction = 0.3;
  return spec;
}

TEST(LoadDatasetTest, TestFractionSplitsDisjointlyAndByTheSeed) {
  const TempDir dir;
  DatasetSpec spec = CsvSpec(dir.Write("a.csv", TenRows()));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_EQ(data.train->size(), 7);
  EXPECT_EQ(data.test->size(), 3);
  std::multiset<float> all(data.train->features.begin(), data.train->features.end());
  all.insert(data.test->features.begin(), data.test->features.end());
  EXPECT_THAT(all, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  for (int64_t i = 0; i < data.train->size(); ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(data.train->labels[at], static_cast<int64_t>(data.train->features[at]) % 2);
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData again, LoadDataset(spec));
  EXPECT_EQ(again.train->features, data.train->features);
  spec.seed = 2;
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData other, LoadDataset(spec));
  EXPECT_NE(other.train->features, data.train->features);
}

TEST(LoadDatasetTest, KeepsSoManyExamplesAndNestsThem) {
  const TempDir dir;
  DatasetSpec spec = CsvSpec(dir.Write("a.csv", TenRows()));
  spec.train_examples = 5;
  spec.test_examples = 2;
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData five, LoadDataset(spec));
  EXPECT_EQ(five.train->size(), 5);
  EXPECT_EQ(five.test->size(), 2);
  spec.train_examples = 3;
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData three, LoadDataset(spec));
  EXPECT_TRUE(std::equal(three.train->features.begin(), three.train->features.end(),
                         five.train->features.begin()));
  spec.train_examples = 8;
  EXPECT_THAT(LoadDataset(spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("train_examples is 8; allowed: up to the 7 there are")));
}

TEST(LoadDatasetTest, NormalizesBothSplits) {
  const TempDir dir;
  DatasetSpec spec = CsvSpec(dir.Write("a.csv", TenRows()));
  spec.normalize = NormalizeOptions{1.0, 4.0};
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_EQ(data.train->mean, 1);
  EXPECT_EQ(data.test->stddev, 4);
}

TEST(LoadDatasetTest, SeparateTestFileOfAnotherWidthIsRefused) {
  const TempDir dir;
  const auto file = [&](const char* name, char items, const std::string& shape, size_t bytes) {
    std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': " + shape + ", }";
    header.resize(117, ' ');
    header += '\n';
    return dir.Write(name,
                     std::string("\x93NUMPY\x01\0\x76\0", 10) + header + std::string(bytes, items));
  };
  DatasetSpec spec;
  spec.dataset = "npy";
  spec.path = file("x", 1, "(2, 3)", 6);
  spec.labels_path = file("y", 0, "(2,)", 2);
  spec.test_path = file("tx", 1, "(1, 4)", 4);
  spec.test_labels_path = file("ty", 0, "(1,)", 1);
  EXPECT_THAT(LoadDataset(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another shape")));
  spec.test_path = file("tx", 1, "(1, 3)", 3);
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_EQ(data.test->size(), 1);
  EXPECT_THAT(data.test->pixels, Each(1));
}

TEST(LoadDatasetTest, AFolderThatIsNotThereSaysWhichKeyToSet) {
  DatasetSpec spec;
  spec.dataset = "mnist";
  spec.path = "/nowhere";
  EXPECT_THAT(LoadDataset(spec),
              StatusIs(absl::StatusCode::kNotFound,
                       ::testing::AllOf(HasSubstr("/nowhere/train-images-idx3-ubyte"),
                                        HasSubstr("`path`"))));
}

TEST(LoadDatasetTest, FashionMnistOfTheDebianPackage) {
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {
    GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  }
  DatasetSpec spec;
  spec.dataset = "fashion_mnist";
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_EQ(data.train->size(), 60000);
  EXPECT_EQ(data.test->size(), 10000);
  EXPECT_THAT(data.train->example_shape, ElementsAre(1, 28, 28));
  // Known of the published set: its first label is an ankle boot, and classes are balanced.
  EXPECT_EQ(data.train->labels[0], 9);
  EXPECT_EQ(std::count(data.train->labels.begin(), data.train->labels.end(), 3), 6000);
  EXPECT_EQ(std::count(data.test->labels.begin(), data.test->labels.end(), 3), 1000);
}

TEST(SyntheticTest, SameSeedSameDataAndOwnersWhenAsked) {
  SyntheticOptions options;
  options.natural_clients = 7;
  options.client_shift = 1;
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData a, MakeSynthetic(options, 5));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData b, MakeSynthetic(options, 5));
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData c, MakeSynthetic(options, 6));
  EXPECT_EQ(a.train->features, b.train->features);
  EXPECT_NE(a.train->features, c.train->features);
  EXPECT_EQ(a.train->client_ids.size(), 2000U);
  EXPECT_THAT(a.train->Validate(), test::IsOk());
  EXPECT_THAT(a.test->Validate(), test::IsOk());
  options.natural_clients = 0;
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData none, MakeSynthetic(options, 5));
  EXPECT_THAT(none.train->client_ids, IsEmpty());
}

// Without noise an example is its class's centre, which has the length `separation`.
TEST(SyntheticTest, CentresAreAtTheSeparation) {
  SyntheticOptions options;
  options.noise = 0;
  options.separation = 4;
  options.classes = 3;
  options.dimensions = 5;
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, MakeSynthetic(options, 1));
  for (size_t i = 0; i < 3; ++i) {
    double square = 0;
    for (size_t d = 0; d < 5; ++d) {
      const float value = data.train->features[i * 5 + d];
      square += static_cast<double>(value) * value;
      EXPECT_EQ(value, data.train->features[(i + 3) * 5 + d]);
      EXPECT_EQ(value, data.test->features[i * 5 + d]);
    }
    EXPECT_NEAR(square, 16, 1e-4);
  }
}

TEST(SyntheticTest, NoiseHasItsStandardDeviation) {
  SyntheticOptions options;
  options.separation = 0;
  options.noise = 2;
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, MakeSynthetic(options, 1));
  double square = 0;
  for (const float value : data.train->features) square += static_cast<double>(value) * value;
  EXPECT_NEAR(square / static_cast<double>(data.train->features.size()), 4, 0.1);
}

TEST(SyntheticTest, CountsOutOfRange) {
  SyntheticOptions options;
  options.classes = 0;
  EXPECT_THAT(MakeSynthetic(options, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  options.classes = 2;
  options.train_examples = int64_t{1} << 40;
  EXPECT_THAT(MakeSynthetic(options, 1), StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace tributary
