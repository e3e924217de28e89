// What a deadline round does beyond a synchronous one; rounds themselves: sync_round_test.cc.
#include "schedulers/deadline.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "schedulers/scheduler_registry.h"
#include "tests/testing/scheduler_host.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::tributary::test::At;
using ::tributary::test::SchedulerHost;
using ::tributary::test::StatusIs;

class Host : public SchedulerHost {
 public:
  explicit Host(const DeadlineOptions& options)
      : SchedulerHost(DeadlineScheduler::Create(options, {.rng = Rng(1)}).value()) {}
};

DeadlineOptions Rounds(int64_t clients, const char* late) {
  DeadlineOptions options;
  options.clients_per_round = clients;
  options.deadline_seconds = absl::Seconds(100);
  options.over_selection = 1;
  options.late = late;
  return options;
}

TEST(DeadlineTest, AsksMoreThanItNeedsAndClosesAtTheGoal) {
  DeadlineOptions options = Rounds(3, "drop");
  options.over_selection = 1.5;
  Host host(options);
  const auto cohort = host.Start(0, 8);
  ASSERT_THAT(cohort, SizeIs(5));
  host.Update(1, cohort[4]);
  host.Update(2, cohort[3]);
  EXPECT_THAT(host.Update(3, cohort[0]).close.at(0).updates, ElementsAre(1, 4, 5));
}

TEST(DeadlineTest, ClosesAtTheDeadlineWithASingleReport) {
  Host host(Rounds(3, "drop"));
  const auto cohort = host.Start(0, 3);
  host.Update(50, cohort[1]);
  const Decision deadline = host.Timer(100);
  EXPECT_THAT(deadline.close.at(0).updates, ElementsAre(2));
  EXPECT_THAT(deadline.close[0].coefficients, IsEmpty()) << "weights are the combine rule's";
}

TEST(DeadlineTest, DoesNotWaitForStragglersToStartAgain) {
  Host host(Rounds(3, "drop"));
  const auto cohort = host.Start(0, 3);
  host.Update(50, cohort[1]);
  host.In(50, cohort[1]);
  host.Timer(100);
  EXPECT_EQ(host.Publish(101).wake_at, At(101));
  EXPECT_THAT(Host::Names(host.Timer(101)), ElementsAre(cohort[1]));
}

TEST(DeadlineTest, DropsALateUpdate) {
  Host host(Rounds(2, "drop"));
  const auto cohort = host.Start(0, 2);
  host.Update(50, cohort[0]);
  host.Timer(100);
  EXPECT_THAT(host.Update(120, cohort[1]).drop, ElementsAre(2));
  EXPECT_EQ(host.Stat("late_dropped"), 1);
}

TEST(DeadlineTest, FoldsALateUpdateIntoTheNextCloseWhereverItCameIn) {
  for (const bool published_first : {false, true}) {
    Host host(Rounds(2, "fold"));
    const auto cohort = host.Start(0, 2);
    const WorkOrderId late = host.OrderOf(cohort[1]).id;
    host.Update(50, cohort[0]);
    ASSERT_THAT(host.Timer(100).close, SizeIs(1));
    if (published_first) host.Publish(110);
    const Decision folded = host.Update(120, cohort[1]);
    EXPECT_THAT(folded.drop, IsEmpty());
    EXPECT_THAT(folded.close, IsEmpty());
    if (!published_first) host.Publish(130);
    host.In(130, cohort[0]);
    host.In(130, cohort[1]);
    ASSERT_THAT(host.Timer(130).dispatch, SizeIs(2));
    EXPECT_THAT(host.Update(140, cohort[0]).close, IsEmpty()) << "late ones are not of the goal";
    EXPECT_THAT(host.Update(150, cohort[1]).close.at(0).updates, ElementsAre(late, 3, 4));
    EXPECT_EQ(host.Stat("late_folded"), 1);
  }
}

TEST(DeadlineTest, AFailedRoundsUpdatesAreDroppedOrFoldedToo) {
  for (const char* late : {"drop", "fold"}) {
    const bool fold = std::string(late) == "fold";
    DeadlineOptions options = Rounds(4, late);
    options.min_reports = 2;
    options.min_available = 2;
    Host host(options);
    const auto cohort = host.Start(0, 4);
    host.Update(10, cohort[0]);
    const Decision failed = host.Timer(100);
    EXPECT_THAT(failed.close, IsEmpty());
    EXPECT_THAT(failed.drop, SizeIs(fold ? 0 : 1));
    EXPECT_EQ(host.Stat("failed_rounds"), 1);
    host.In(110, cohort[0]);
    host.In(110, "new");
    ASSERT_THAT(host.Timer(110).dispatch, SizeIs(2));
    host.Update(120, "new");
    EXPECT_THAT(host.Timer(210).close, SizeIs(fold ? 1 : 0)) << "folded ones count as reports";
  }
}

// Nobody keeps the deadline: every round closes with what the one before has left.
TEST(DeadlineTest, MakesProgressWhenEverybodyIsLate) {
  Host host(Rounds(2, "fold"));
  host.Start(0, 2);
  EXPECT_THAT(host.Timer(100).close, IsEmpty());
  for (const char* client : {"a", "b"}) {
    host.Update(110, client);
    host.In(110, client);
  }
  ASSERT_THAT(host.Timer(110).dispatch, SizeIs(2));
  EXPECT_THAT(host.Timer(210).close.at(0).updates, ElementsAre(1, 2));
}

TEST(DeadlineTest, RefusesOptionsThatContradictOneAnother) {
  DeadlineOptions options = Rounds(5, "drop");
  options.min_reports = 6;
  EXPECT_THAT(DeadlineScheduler::Create(options, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("min_reports is 6; allowed are 1 to clients_per_round, 5")));
  options.min_reports = 4;
  options.min_available = 3;
  EXPECT_THAT(DeadlineScheduler::Create(options, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("min_available is 3")));
}

TEST(DeadlineTest, RefusesOptionsOutOfRange) {
  const std::vector<std::pair<const char*, nlohmann::json>> bad = {
      {"clients_per_round", 0}, {"fraction", 0.0},  {"min_reports", 0},    {"deadline_seconds", 0},
      {"over_selection", 0.9},  {"late", "ignore"}, {"on_loss", "replace"}};
  for (const auto& [field, value] : bad) {
    EXPECT_THAT(SchedulerRegistry().Create({"deadline", {{field, value}}, {}}, {}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
}

}  // namespace
}  // namespace tributary
