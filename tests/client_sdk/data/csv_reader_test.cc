#include <optional>
#include <string>

#include "client_sdk/data/readers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::StatusIs;
using test::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<Dataset> Read(const std::string& text, const CsvOptions& options,
                             CsvNames* names = nullptr) {
  const TempDir dir;
  return ReadCsv(dir.Write("a.csv", text), options, names);
}

TEST(ReadCsvTest, TextLabelsAreNumberedInSortedOrder) {
  CsvNames names;
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data, Read("a,kind,b\n1,dog,2\n3.5,cat,-4e1\n5,dog,6\n",
                                                     {.label = "kind"}, &names));
  EXPECT_THAT(data.example_shape, ElementsAre(2));
  EXPECT_THAT(data.features, ElementsAre(1, 2, 3.5, -40, 5, 6));
  EXPECT_THAT(data.labels, ElementsAre(1, 0, 1));
  EXPECT_EQ(data.num_classes, 2);
  EXPECT_THAT(data.client_ids, IsEmpty());
  EXPECT_THAT(names.labels, ElementsAre("cat", "dog"));
  EXPECT_THAT(names.features, ElementsAre("a", "b"));
}

TEST(ReadCsvTest, IntegerLabelsSortAsNumbers) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data, Read("y,x\n10,0\n9,0\n-1,0\n", {.label = "y"}));
  EXPECT_THAT(data.labels, ElementsAre(2, 1, 0));
}

TEST(ReadCsvTest, ClassesTakeTheLabelsAsTheyStand) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data,
                            Read("y,x\n4,0\n2,0\n", {.label = "y", .num_classes = 5}));
  EXPECT_THAT(data.labels, ElementsAre(4, 2));
  EXPECT_EQ(data.num_classes, 5);
}

TEST(ReadCsvTest, ClientColumnGivesOwners) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data, Read("who,y,x\nzoe,0,1\nann,1,2\nzoe,1,3\n",
                                                     {.label = "y", .client = "who"}));
  EXPECT_THAT(data.client_ids, ElementsAre(1, 0, 1));
  EXPECT_EQ(data.num_clients, 2);
  EXPECT_THAT(data.client_names, ElementsAre("ann", "zoe"));
  EXPECT_THAT(data.features, ElementsAre(1, 2, 3));
}

TEST(ReadCsvTest, ChosenFeaturesInTheOrderChosen) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data, Read("a,b,text,y\n1,2,hello,0\n",
                                                     {.label = "y", .features = {"b", "a"}}));
  EXPECT_THAT(data.features, ElementsAre(2, 1));
}

TEST(ReadCsvTest, QuotesLineBreaksAndByteOrderMark) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Dataset data,
      Read("\xEF\xBB\xBF\"x, 1\",y\r\n\"1\",\"a \"\"b\"\"\"\r\n\r\n2,\"c\nd\"", {.label = "y"}));
  EXPECT_THAT(data.features, ElementsAre(1, 2));
  EXPECT_THAT(data.labels, ElementsAre(0, 1));
}

TEST(ReadCsvTest, MissingValuesAsZero) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Dataset data,
      Read("a,b,y\n,2,0\nNA,3,1\n", {.label = "y", .missing = MissingValue::kZero}));
  EXPECT_THAT(data.features, ElementsAre(0, 2, 0, 3));
}

TEST(ReadCsvTest, RowsWithMissingValuesDropped) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Dataset data,
      Read("a,b,y\n1,,0\n2,3,1\n4,5,\n", {.label = "y", .missing = MissingValue::kDrop}));
  EXPECT_THAT(data.features, ElementsAre(2, 3));
  EXPECT_EQ(data.size(), 1);
}

TEST(ReadCsvTest, TestFileUsesTheTrainingFilesNumbers) {
  const TempDir dir;
  const CsvOptions options{.label = "y"};
  CsvNames names;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Dataset train,
      ReadCsv(dir.Write("a.csv", "a,b,y\n1,2,cat\n3,4,dog\n"), options, &names));
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Dataset test,
      ReadCsvWithNames(dir.Write("b.csv", "y,b,a\ndog,20,10\n"), options, names));
  EXPECT_THAT(test.labels, ElementsAre(1));
  EXPECT_EQ(test.num_classes, train.num_classes);
  EXPECT_THAT(test.features, ElementsAre(10, 20));
  EXPECT_THAT(
      ReadCsvWithNames(dir.Write("c.csv", "a,b,y\n1,2,cow\n"), options, names),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("row 2, column 'y': found 'cow'")));
}

struct BadCsv {
  const char* name;
  const char* text;
  CsvOptions options;
  const char* message;
};

class BadCsvTest : public ::testing::TestWithParam<BadCsv> {};

TEST_P(BadCsvTest, IsRefusedNamingThePlace) {
  const auto& bad = GetParam();
  EXPECT_THAT(Read(bad.text, bad.options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       ::testing::AllOf(HasSubstr("a.csv"), HasSubstr(bad.message))));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadCsvTest,
    ::testing::Values(
        BadCsv{"Empty", "", {.label = "y"}, "expected a header row"},
        BadCsv{"HeaderOnly", "x,y\n", {.label = "y"}, "no example"},
        BadCsv{"NoLabelColumn",
               "x,z\n1,2\n",
               {.label = "y"},
               "no column is called 'y'; the columns are x, z"},
        BadCsv{"NoClientColumn", "x,y\n1,2\n", {.label = "y", .client = "who"}, "'who'"},
        BadCsv{"NoFeatureColumn", "x,y\n1,2\n", {.label = "y", .features = {"q"}}, "'q'"},
        BadCsv{"OnlyALabel", "y\n1\n", {.label = "y"}, "no feature column"},
        BadCsv{
            "TwoColumnsOfOneName", "x,x,y\n1,2,3\n", {.label = "y"}, "two columns are called 'x'"},
        BadCsv{"ShortRow", "x,y\n1,2\n3\n", {.label = "y"}, "row 3: 1 fields; the header has 2"},
        BadCsv{"NotANumber",
               "x,y\n1,2\nabc,2\n",
               {.label = "y"},
               "row 3: column 'x': found 'abc', expected a finite number"},
        BadCsv{"NotFinite", "x,y\nnan,2\n", {.label = "y"}, "row 2: column 'x': found 'nan'"},
        BadCsv{
            "Missing", "x,y\n1,2\n,3\n", {.label = "y"}, "row 3: column 'x': the value is missing"},
        BadCsv{"MissingLabel",
               "x,y\n1,\n",
               {.label = "y", .missing = MissingValue::kZero},
               "row 2: column 'y': the value is missing"},
        BadCsv{"LabelTooLarge",
               "x,y\n1,0\n1,3\n",
               {.label = "y", .num_classes = 3},
               "row 3, column 'y': found '3', expected an integer label in [0, 3)"},
        BadCsv{"LabelNotInteger", "x,y\n1,cat\n", {.label = "y", .num_classes = 3}, "found 'cat'"},
        BadCsv{"OpenQuote", "x,y\n\"1,2\n", {.label = "y"}, "row 2: a quoted field is not closed"}),
    [](const auto& row) { return row.param.name; });

}  // namespace
}  // namespace tributary
