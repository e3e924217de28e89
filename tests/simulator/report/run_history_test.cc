#include "simulator/report/run_history.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::report {
namespace {

using test::StatusIs;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr char kHeader[] = R"({"job": {"name": "x"}})";

class RunHistoryTest : public ::testing::Test {
 protected:
  absl::StatusOr<RunHistory> Read(const std::string& lines) {
    return ReadHistory(dir_.Write("events.jsonl", absl::StrCat(kHeader, "\n", lines)));
  }
  const test::TempDir dir_;
};

constexpr char kSmallRun[] =
    R"({"at":5000000000,"event":"client_available","client":"eva","evaluate_only":true}
{"at":5000000000,"event":"client_available","client":"a","evaluate_only":false}
{"at":5000000000,"action":"send_work","client":"a","kind":"initialise","work_order":1,"group":0,"version":0}
{"at":5000000000,"action":"send_work","client":"a","kind":"train","work_order":2,"group":7,"version":0,"local_steps":10,"deadline":9000000000,"expected":8000000000}
{"at":6000000000,"event":"client_available","client":"b","evaluate_only":false}
{"at":6000000000,"action":"send_work","client":"b","kind":"train","work_order":3,"group":7,"version":0}
{"at":6000000000,"action":"wake_at","wake":9000000000}
{"at":10000000000,"event":"update_arrived","work_order":2,"local_steps":8}
{"at":10000000000,"action":"publish_version","version":1,"group":7,"parts":[{"work_order":2,"client":"a","staleness":4}]}
{"at":10000000000,"action":"send_work","client":"a","kind":"train","work_order":4,"group":8,"version":1,"deadline":11000000000}
{"at":10500000000,"event":"update_arrived","work_order":4,"local_steps":8}
{"at":11000000000,"event":"work_failed","work_order":3,"cause":"timed_out","message":"gone"}
{"at":11000000000,"event":"update_arrived","work_order":3,"local_steps":5}
{"at":12000000000,"event":"client_gone","client":"b"}
{"at":12000000000,"action":"send_work","client":"a","kind":"train","work_order":5,"group":8,"version":1}
{"at":15000000000,"event":"timer_fired"}
)";

TEST_F(RunHistoryTest, TimesAreSinceTheFirstEventOfTheRun) {
  TRIB_ASSERT_OK_AND_ASSIGN(const RunHistory run, Read(kSmallRun));
  EXPECT_EQ(run.seconds, 10.0);
  EXPECT_EQ(run.header["job"]["name"], "x");
  ASSERT_THAT(run.orders, SizeIs(4));
  const OrderSpan& late = run.orders[0];
  EXPECT_EQ(late.from, 0.0);
  EXPECT_EQ(late.to, 5.0);
  EXPECT_THAT(late.deadline, Optional(4.0));
  EXPECT_THAT(late.expected, Optional(3.0));
  EXPECT_EQ(late.group, 7);
  EXPECT_EQ(late.local_steps, 8) << "as reported";
  EXPECT_TRUE(late.late());
}

TEST_F(RunHistoryTest, OrdersArriveAreLostOrStillRun) {
  TRIB_ASSERT_OK_AND_ASSIGN(const RunHistory run, Read(kSmallRun));
  ASSERT_THAT(run.orders, SizeIs(4));
  EXPECT_EQ(run.orders[1].end, OrderSpan::End::kLost);
  EXPECT_EQ(run.orders[1].to, 6.0) << "what arrives afterwards does not count";
  EXPECT_EQ(run.orders[2].end, OrderSpan::End::kArrived);
  EXPECT_FALSE(run.orders[2].late());
  EXPECT_EQ(run.orders[3].end, OrderSpan::End::kRunning);
  EXPECT_EQ(run.orders[3].to, run.seconds);
  EXPECT_THAT(run.lost, ElementsAre(Pair("timed_out", 1)));
  EXPECT_THAT(run.local_steps, ElementsAre(Pair(8, 2)));
}

TEST_F(RunHistoryTest, ClientsThatOnlyEvaluateAreNoneOfIt) {
  TRIB_ASSERT_OK_AND_ASSIGN(const RunHistory run, Read(kSmallRun));
  ASSERT_THAT(run.clients, SizeIs(2));
  EXPECT_EQ(run.clients[0].id, "a");
  EXPECT_THAT(run.clients[0].orders, ElementsAre(0, 2, 3));
  EXPECT_THAT(run.clients[0].present, ElementsAre(Interval{0, 10}));
  EXPECT_EQ(run.clients[0].applied, 1);
  EXPECT_EQ(run.clients[0].staleness_sum, 4);
  EXPECT_THAT(run.clients[1].present, ElementsAre(Interval{1, 7}));
}

TEST_F(RunHistoryTest, VersionsHaveTheirGroupsAndStaleness) {
  TRIB_ASSERT_OK_AND_ASSIGN(const RunHistory run, Read(kSmallRun));
  ASSERT_THAT(run.publications, SizeIs(1));
  EXPECT_EQ(run.publications[0].at, 5.0);
  EXPECT_EQ(run.publications[0].group, 7);
  EXPECT_EQ(run.publications[0].updates, 1);
  EXPECT_THAT(run.staleness, ElementsAre(Pair(4, 1)));
}

TEST_F(RunHistoryTest, WallClockTimesKeepTheirPrecision) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const RunHistory run,
      Read(R"({"at":1795343315123456789,"event":"client_available","client":"a"}
{"at":1795343315123956789,"event":"timer_fired"}
)"));
  EXPECT_THAT(run.seconds, DoubleNear(0.0005, 1e-12));
}

TEST_F(RunHistoryTest, AClientMayComeBack) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const RunHistory run,
      Read(R"({"at":0,"event":"client_available","client":"a","evaluate_only":false}
{"at":1000000000,"event":"client_gone","client":"a"}
{"at":2000000000,"event":"client_gone","client":"a"}
{"at":3000000000,"event":"client_available","client":"a","evaluate_only":false}
{"at":4000000000,"event":"client_gone","client":"nobody"}
)"));
  EXPECT_THAT(run.clients[0].present, ElementsAre(Interval{0, 1}, Interval{3, 4}));
}

TEST_F(RunHistoryTest, ARecalledOrderIsLost) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const RunHistory run,
      Read(R"({"at":0,"action":"send_work","client":"a","kind":"train","work_order":2,"group":0}
{"at":1000000000,"action":"recall_work","client":"a","work_order":2}
)"));
  EXPECT_EQ(run.orders[0].end, OrderSpan::End::kLost);
  EXPECT_THAT(run.lost, ElementsAre(Pair("recalled", 1)));
}

TEST_F(RunHistoryTest, ARunThatDidNothingIsEmpty) {
  TRIB_ASSERT_OK_AND_ASSIGN(const RunHistory run, Read(""));
  EXPECT_THAT(run.clients, IsEmpty());
  EXPECT_EQ(run.seconds, 0.0);
}

struct BadLine {
  std::string line;
  std::string message;
};

class BadLineTest : public RunHistoryTest, public ::testing::WithParamInterface<BadLine> {};

TEST_P(BadLineTest, IsNamedWithItsFileAndNumber) {
  const std::string good = R"({"at":0,"event":"timer_fired"})";
  EXPECT_THAT(Read(absl::StrCat(good, "\n", GetParam().line, "\n")).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(absl::StrCat("/events.jsonl:3: ", GetParam().message))));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadLineTest,
    ::testing::Values(
        BadLine{"", "is not a JSON object"}, BadLine{"[]", "is not a JSON object"},
        BadLine{R"({"at":0,"eve)", "is not a JSON object"},
        BadLine{R"({"event":"timer_fired"})", "at: found nothing; must be an integer from 0"},
        BadLine{R"({"at":"0","event":"timer_fired"})", "at: found \"0\"; must be an integer"},
        BadLine{R"({"at":-1,"event":"timer_fired"})", "at: found -1; must be an integer from 0"},
        BadLine{R"({"at":0})", "event: found nothing; must be a string"},
        BadLine{R"({"at":0,"action":7})", "action: found 7; must be a string"},
        BadLine{R"({"at":0,"event":"client_available","client":7})", "client: found 7"},
        BadLine{R"({"at":0,"event":"client_available","client":"a","evaluate_only":1})",
                "evaluate_only: found 1; must be true or false"},
        BadLine{R"({"at":0,"action":"send_work","client":"a","kind":"train","group":0})",
                "work_order: found nothing"},
        BadLine{R"({"at":0,"action":"send_work","client":"a","kind":"train","group":0,)"
                R"("work_order":1,"deadline":"soon"})",
                "deadline: found \"soon\""},
        BadLine{R"({"at":0,"action":"publish_version","version":1,"group":0,"parts":3})",
                "parts: found 3; must be a list"},
        BadLine{R"({"at":0,"action":"publish_version","version":1,"group":0,"parts":[3]})",
                "client: found nothing"},
        BadLine{R"({"at":0,"action":"publish_version","version":1,"group":0,)"
                R"("parts":[{"client":"a","work_order":1,"staleness":0.5}]})",
                "staleness: found 0.5; must be an integer from 0"}));

TEST_F(RunHistoryTest, BadFilesAreNamed) {
  EXPECT_THAT(ReadHistory("/no/such.jsonl").status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such.jsonl")));
  EXPECT_THAT(ReadHistory(dir_.Write("empty.jsonl", "")).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("empty.jsonl:1: ")));
  for (const auto& read : {+[](const std::string& p) { return ReadHistory(p).status(); },
                           +[](const std::string& p) { return ReadHistoryHeader(p).status(); }}) {
    EXPECT_THAT(read(dir_.Write("other.jsonl", "{\"at\":0}\n")),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("other.jsonl:1: ")));
  }
}

}  // namespace
}  // namespace tributary::report
