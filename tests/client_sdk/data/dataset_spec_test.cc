#include "client_sdk/data/dataset_spec.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;

TEST(ParseDataFlagTest, ABareNameTakesTheDefaults) {
  TRIB_ASSERT_OK_AND_ASSIGN(const DatasetSpec spec, ParseDataFlag("fashion_mnist"));
  EXPECT_EQ(spec.dataset, "fashion_mnist");
  EXPECT_EQ(spec.partition.name, "iid");
  EXPECT_EQ(spec.seed, 1);
  EXPECT_FALSE(spec.train_examples.has_value());
}

TEST(ParseDataFlagTest, AFlowMappingGivesEveryKey) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const DatasetSpec spec,
      ParseDataFlag("{dataset: csv, path: a.csv, label: y, client: who, features: [a, b], "
                    "missing: drop, test_fraction: 0.25, train_examples: 20, seed: 7, "
                    "normalize: {mean: 1, std: 2}, partition: {dirichlet: {alpha: 0.3}}}"));
  EXPECT_THAT(spec.path, Optional(std::string("a.csv")));
  EXPECT_THAT(spec.label, Optional(std::string("y")));
  EXPECT_THAT(spec.client, Optional(std::string("who")));
  EXPECT_THAT(spec.features, ElementsAre("a", "b"));
  EXPECT_THAT(spec.missing, Optional(std::string("drop")));
  EXPECT_THAT(spec.test_fraction, Optional(0.25));
  EXPECT_THAT(spec.train_examples, Optional(20));
  EXPECT_EQ(spec.seed, 7);
  ASSERT_TRUE(spec.normalize.has_value());
  EXPECT_EQ(spec.normalize->mean, 1);
  EXPECT_EQ(spec.normalize->stddev, 2);
  EXPECT_EQ(spec.partition.name, "dirichlet");
  EXPECT_EQ(spec.partition.options.at("alpha"), 0.3);
  EXPECT_EQ(spec.partition.options.at("min_examples"), 1);
}

struct BadFlag {
  const char* name;
  const char* text;
  const char* message;
};
std::ostream& operator<<(std::ostream& out, const BadFlag& flag) { return out << flag.text; }
std::string NameOf(const ::testing::TestParamInfo<BadFlag>& info) { return info.param.name; }

class BadDataFlagTest : public ::testing::TestWithParam<BadFlag> {};

TEST_P(BadDataFlagTest, IsRefused) {
  EXPECT_THAT(ParseDataFlag(GetParam().text),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadDataFlagTest,
    ::testing::Values(
        BadFlag{"UnknownDataset", "fashion_minst", "did you mean 'fashion_mnist'?"},
        BadFlag{"NoDataset", "{path: a.csv}", "dataset"},
        BadFlag{"UnknownKey", "{dataset: mnist, train_example: 5}",
                "did you mean 'train_examples'?"},
        BadFlag{"KeyOfAnother", "{dataset: fashion_mnist, label: y}",
                "'label' does not belong to dataset 'fashion_mnist'; it belongs to csv"},
        BadFlag{"SyntheticKey", "{dataset: mnist, noise: 1}", "'noise' does not belong"},
        BadFlag{"SyntheticNeedsNoNormalize", "{dataset: synthetic, normalize: {mean: 1}}",
                "'normalize' does not belong to dataset 'synthetic'"},
        BadFlag{"CsvWithoutPath", "{dataset: csv, label: y, test_fraction: 0.1}", "needs 'path'"},
        BadFlag{"CsvWithoutLabel", "{dataset: csv, path: a, test_fraction: 0.1}", "needs 'label'"},
        BadFlag{"CsvWithoutTest", "{dataset: csv, path: a, label: y}",
                "exactly one of 'test_path' and 'test_fraction'"},
        BadFlag{"CsvWithTwoTests",
                "{dataset: csv, path: a, label: y, test_path: b, test_fraction: 0.1}",
                "exactly one of 'test_path' and 'test_fraction'"},
        BadFlag{"NpyWithoutLabels", "{dataset: npy, path: a, test_fraction: 0.1}",
                "needs 'labels_path'"},
        BadFlag{"NpyTestWithoutLabels", "{dataset: npy, path: a, labels_path: b, test_path: c}",
                "'test_labels_path'"},
        BadFlag{"TextWithoutPath", "{dataset: text, test_fraction: 0.1}", "needs 'path'"},
        BadFlag{"TextWithoutTest", "{dataset: text, path: a}",
                "exactly one of 'test_path' and 'test_fraction'"},
        BadFlag{"UnknownTokens", "{dataset: text, path: a, tokens: words}", "tokens"},
        BadFlag{"TextIsNotNormalised", "{dataset: text, path: a, normalize: {mean: 1}}",
                "'normalize' does not belong to dataset 'text'"},
        BadFlag{"NoModel", "{dataset: text, path: a, test_path: b, tokens: sentencepiece}",
                "dataset 'text' needs both of 'tokens: sentencepiece' and 'model', or neither"},
        BadFlag{"ModelOfBytes", "{dataset: text, path: a, test_path: b, model: c}",
                "dataset 'text' needs both of 'tokens: sentencepiece' and 'model', or neither"},
        BadFlag{"ModelOfAnother", "{dataset: mnist, model: c}",
                "'model' does not belong to dataset 'mnist'; it belongs to text"},
        BadFlag{"ContextOfAnother", "{dataset: mnist, context: 8}",
                "'context' does not belong to dataset 'mnist'; it belongs to text"},
        BadFlag{"ShiftWithoutClients", "{dataset: synthetic, client_shift: 1}",
                "'natural_clients'"},
        BadFlag{"FractionTooLarge", "{dataset: csv, path: a, label: y, test_fraction: 1}",
                "test_fraction"},
        BadFlag{"ZeroExamples", "{dataset: mnist, train_examples: 0}", "train_examples"},
        BadFlag{"StdZero", "{dataset: mnist, normalize: {std: 0}}", "normalize.std"},
        BadFlag{"UnknownPartition", "{dataset: mnist, partition: {dirichlett: {alpha: 1}}}",
                "did you mean 'dirichlet'?"},
        BadFlag{"AlphaZero", "{dataset: mnist, partition: {dirichlet: {alpha: 0}}}", "alpha"},
        BadFlag{"BrokenYaml", "{dataset: mnist", "data"}),
    NameOf);

TEST(ParsePartitionFlagTest, SplitsOptionsFromOurKeys) {
  TRIB_ASSERT_OK_AND_ASSIGN(const PartitionFlag flag,
                            ParsePartitionFlag("dirichlet:alpha=0.3,clients=5,index=2,seed=9"));
  EXPECT_EQ(flag.partition.name, "dirichlet");
  EXPECT_EQ(flag.partition.options.at("alpha"), 0.3);
  EXPECT_EQ(flag.clients, 5);
  EXPECT_EQ(flag.index, 2);
  EXPECT_EQ(flag.seed, 9);
}

TEST(ParsePartitionFlagTest, SpacesAndDefaults) {
  TRIB_ASSERT_OK_AND_ASSIGN(const PartitionFlag flag,
                            ParsePartitionFlag("iid: clients = 3, index = 0"));
  EXPECT_EQ(flag.partition.name, "iid");
  EXPECT_EQ(flag.clients, 3);
  EXPECT_EQ(flag.seed, 1);
}

class BadPartitionFlagTest : public ::testing::TestWithParam<BadFlag> {};

TEST_P(BadPartitionFlagTest, IsRefused) {
  EXPECT_THAT(ParsePartitionFlag(GetParam().text),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadPartitionFlagTest,
    ::testing::Values(
        BadFlag{"UnknownName", "idd:clients=2,index=0", "did you mean 'iid'?"},
        BadFlag{"Empty", "", "partition"}, BadFlag{"NoClients", "iid:index=0", "clients"},
        BadFlag{"NoIndex", "iid:clients=2", "index"},
        BadFlag{"IndexTooLarge", "iid:clients=2,index=2", "allowed: 0 to 1"},
        BadFlag{"IndexNegative", "iid:clients=2,index=-1", "index"},
        BadFlag{"NotANumber", "iid:clients=two,index=0", "clients"},
        BadFlag{"UnknownOption", "dirichlet:alfa=1,clients=2,index=0",
                "partition: partition.dirichlet.alfa: unknown key; allowed: the keys alpha"},
        BadFlag{"NoValue", "iid:clients", "expected key=value"},
        BadFlag{"Twice", "iid:clients=2,clients=3,index=0", "'clients' stands twice"}),
    NameOf);

}  // namespace
}  // namespace tributary
