#include "simulator/report/metrics_table.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/report/median_curve.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::report {
namespace {

using test::StatusIs;
using test::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;

TEST(MetricsTableTest, EmptyFieldsAreNothing) {
  const TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(const MetricsTable table,
                            ReadMetrics(dir.Write("m.csv",
                                                  "version,loss,accuracy\n0,,0.5\n"
                                                  "1,2.5,\n")));
  EXPECT_THAT(table.columns, ElementsAre("version", "loss", "accuracy"));
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre(0.0, std::nullopt, 0.5),
                                      ElementsAre(1.0, 2.5, std::nullopt)));
  EXPECT_THAT(table.Find("accuracy"), Optional(2U));
  EXPECT_EQ(table.Find("acc"), std::nullopt);
}

TEST(MetricsTableTest, WordsAreLeftOut) {
  const TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(const MetricsTable table,
                            ReadMetrics(dir.Write("m.csv",
                                                  "version,phase,task\n0,initialise,0\n"
                                                  "1,train,0\n")));
  EXPECT_THAT(table.columns, ElementsAre("version", "task"));
  EXPECT_THAT(table.rows, ElementsAre(ElementsAre(0.0, 0.0), ElementsAre(1.0, 0.0)));
}

TEST(MetricsTableTest, ARunNeedNotHaveOne) {
  TRIB_ASSERT_OK_AND_ASSIGN(const MetricsTable table, ReadMetrics("/no/such/metrics.csv"));
  EXPECT_THAT(table.columns, IsEmpty());
  EXPECT_THAT(table.rows, IsEmpty());
}

TEST(MetricsTableTest, BadRowsAreNamed) {
  const TempDir dir;
  EXPECT_THAT(ReadMetrics(dir.Write("m.csv", "version,loss\n0,1\n1\n")).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("m.csv:3: found 1 fields; the heading has 2")));
  for (const std::string field : {"x", "nan", "inf", "1e999", "1 2"}) {
    EXPECT_THAT(ReadMetrics(dir.Write("m.csv", "version,loss\n0," + field + "\n")).status(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("m.csv:2: loss: found '" + field + "'")));
  }
}

TEST(ThinnedTest, KeepsBothEndsAndSpreadsEvenly) {
  EXPECT_THAT(Thinned(0, 5), IsEmpty());
  EXPECT_THAT(Thinned(3, 5), ElementsAre(0, 1, 2));
  EXPECT_THAT(Thinned(5, 5), ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(Thinned(9, 5), ElementsAre(0, 2, 4, 6, 8));
  EXPECT_THAT(Thinned(1000, 2), ElementsAre(0, 999));
}

TEST(MedianCurveTest, IsOfAllCurvesWhereAllOfThemAre) {
  const Curve a = {{0, 1}, {2, 3}, {6, 9}};
  const Curve b = {{1, 2}, {4, 8}};
  // From 1, where b begins, to 4, where it ends: a is 2, 3, 6 and b is 2, 4, 8.
  EXPECT_THAT(MedianCurve({a, b}, 10), ElementsAre(Pair(1, 2), Pair(2, 3.5), Pair(4, 7)));
  EXPECT_THAT(MedianCurve({a, b}, 2), ElementsAre(Pair(1, 2), Pair(4, 7)));
  EXPECT_THAT(MedianCurve({a}, 10), ElementsAre(Pair(0, 1), Pair(2, 3), Pair(6, 9)));
  const Curve c = {{0, 100}, {4, 0}};
  EXPECT_THAT(MedianCurve({a, b, c}, 10), ElementsAre(Pair(1, 2), Pair(2, 4), Pair(4, 6)));
}

TEST(MedianCurveTest, NothingInCommonIsNoCurve) {
  EXPECT_THAT(MedianCurve({}, 10), IsEmpty());
  EXPECT_THAT(MedianCurve({Curve{{0, 1}}, Curve{}}, 10), IsEmpty());
  EXPECT_THAT(MedianCurve({Curve{{0, 1}, {1, 1}}, Curve{{5, 1}, {6, 1}}}, 10), IsEmpty());
}

TEST(CurveOfTest, TakesRowsThatHaveBoth) {
  const MetricsTable table = {.columns = {"version", "loss"},
                              .rows = {{0.0, std::nullopt}, {1.0, 0.5}}};
  EXPECT_THAT(CurveOf(table, "version", "loss"), ElementsAre(Pair(1, 0.5)));
  EXPECT_THAT(CurveOf(table, "version", "accuracy"), IsEmpty());
}

}  // namespace
}  // namespace tributary::report
