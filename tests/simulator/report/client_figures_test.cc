#include "simulator/report/client_figures.h"

#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "simulator/report/spread.h"
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
using ::testing::SizeIs;

using End = OrderSpan::End;

OrderSpan Order(size_t client, double from, double to, End end = End::kArrived,
                int64_t local_steps = 10) {
  return {.client = client, .local_steps = local_steps, .from = from, .to = to, .end = end};
}

// Takes each order's client from the order.
RunHistory History(std::vector<ClientHistory> clients, std::vector<OrderSpan> orders,
                   double seconds) {
  RunHistory history;
  history.clients = std::move(clients);
  history.orders = std::move(orders);
  history.seconds = seconds;
  for (size_t i = 0; i < history.orders.size(); ++i) {
    history.clients[history.orders[i].client].orders.push_back(i);
  }
  return history;
}

TEST(FiguresOfClientsTest, WaitingIsPresenceWithoutAnOrder) {
  const RunHistory run = History({{.id = "a", .orders = {}, .present = {{1, 20}}}},
                                 {Order(0, 2, 5), Order(0, 5, 8), Order(0, 10, 12)}, 20);
  const auto clients = FiguresOfClients(run, {});
  ASSERT_THAT(clients, SizeIs(1));
  EXPECT_THAT(clients[0].waits, ElementsAre(Interval{1, 2}, Interval{8, 10}, Interval{12, 20}));
  EXPECT_THAT(clients[0].utilisation, Optional(DoubleNear(8.0 / 19.0, 1e-12)));
  EXPECT_THAT(clients[0].joined, Optional(1.0));
  EXPECT_EQ(clients[0].vanished, std::nullopt);
}

TEST(FiguresOfClientsTest, AClientThatWasAwayDidNotWait) {
  const RunHistory run = History({{.id = "a", .orders = {}, .present = {{0, 4}, {6, 9}}}},
                                 {Order(0, 0, 3), Order(0, 7, 9)}, 20);
  const auto clients = FiguresOfClients(run, {});
  EXPECT_THAT(clients[0].waits, ElementsAre(Interval{3, 4}, Interval{6, 7}));
  EXPECT_THAT(clients[0].vanished, Optional(9.0));
  EXPECT_THAT(clients[0].utilisation, Optional(DoubleNear(5.0 / 7.0, 1e-12)));
}

// The server hears nothing: the order runs into its timeout long after.
TEST(FiguresOfClientsTest, TheFleetKnowsWhoVanished) {
  const RunHistory run = History({{.id = "a", .orders = {}, .present = {{0, 20}}}},
                                 {Order(0, 0, 4), Order(0, 4, 15, End::kLost)}, 20);
  const auto clients = FiguresOfClients(run, {.clients = {{"a", {.vanishes_at_seconds = 5.0}}}});
  EXPECT_THAT(clients[0].vanished, Optional(5.0));
  EXPECT_THAT(clients[0].waits, IsEmpty());
  EXPECT_THAT(clients[0].utilisation, Optional(1.0));
  EXPECT_EQ(clients[0].lost, 1);
}

TEST(FiguresOfClientsTest, LateIsAfterTheOrdersOwnDeadline) {
  std::vector<OrderSpan> orders = {Order(0, 0, 3), Order(0, 3, 6), Order(0, 6, 9),
                                   Order(0, 9, 12, End::kLost)};
  orders[0].deadline = 3.0;  // just in time
  orders[1].deadline = 5.9;
  orders[3].deadline = 10.0;  // lost, not late
  const RunHistory run = History({{.id = "a", .orders = {}, .present = {}}}, orders, 12);
  const auto clients = FiguresOfClients(run, {});
  EXPECT_EQ(clients[0].late, 1);
  EXPECT_EQ(clients[0].arrived, 3);
  EXPECT_EQ(clients[0].lost, 1);
  EXPECT_EQ(clients[0].utilisation, std::nullopt) << "never seen";
}

TEST(FiguresOfClientsTest, SortsByDrawnElseMeasuredSpeed) {
  const RunHistory run = History({{.id = "unknown", .orders = {}, .present = {}},
                                  {.id = "measured", .orders = {}, .present = {}},
                                  {.id = "drawn", .orders = {}, .present = {}},
                                  {.id = "also", .orders = {}, .present = {}}},
                                 {
                                     Order(0, 0, 5, End::kLost),
                                     Order(1, 0, 10),                     // 1 s a step
                                     Order(1, 10, 12, End::kArrived, 1),  // 2
                                     Order(1, 20, 110),                   // 9: a slow moment
                                     Order(1, 120, 130, End::kArrived, 0),
                                     Order(2, 0, 90),
                                 },
                                 200);
  const auto clients = FiguresOfClients(run, {.clients = {{"drawn", {.seconds_per_step = 3.0}},
                                                          {"also", {.seconds_per_step = 2.0}}}});
  ASSERT_THAT(clients, SizeIs(4));
  EXPECT_EQ(clients[0].id, "also");
  EXPECT_EQ(clients[1].id, "measured");
  EXPECT_THAT(clients[1].seconds_per_step, Optional(2.0)) << "the median";
  EXPECT_EQ(clients[2].id, "drawn");
  EXPECT_THAT(clients[2].seconds_per_step, Optional(3.0));
  EXPECT_EQ(clients[3].id, "unknown");
  EXPECT_EQ(clients[3].seconds_per_step, std::nullopt);
}

TEST(FiguresOfClientsTest, TheEstimateIsTheLastOrders) {
  std::vector<OrderSpan> orders = {Order(0, 0, 3), Order(0, 10, 13), Order(0, 20, 23)};
  orders[0].expected = 5.0;
  orders[1].expected = 14.0;
  const RunHistory run = History({{.id = "a", .orders = {}, .present = {}}}, orders, 23);
  EXPECT_THAT(EstimatedSecondsPerStep(orders[0]), Optional(0.5));
  EXPECT_EQ(EstimatedSecondsPerStep(orders[2]), std::nullopt);
  orders[0].local_steps = 0;
  EXPECT_EQ(EstimatedSecondsPerStep(orders[0]), std::nullopt);
  EXPECT_THAT(FiguresOfClients(run, {})[0].estimate, Optional(0.4));
}

TEST(FiguresOfClientsTest, StalenessIsOfAppliedUpdates) {
  const RunHistory run =
      History({{.id = "a", .orders = {}, .present = {}, .applied = 4, .staleness_sum = 6},
               {.id = "b", .orders = {}, .present = {}}},
              {}, 1);
  const auto clients = FiguresOfClients(run, {});
  EXPECT_THAT(clients[0].mean_staleness, Optional(1.5));
  EXPECT_EQ(clients[1].mean_staleness, std::nullopt);
}

TEST(HistogramTest, ABinAValueWhereTheyFit) {
  EXPECT_THAT(Histogram({}, 10), IsEmpty());
  EXPECT_THAT(Histogram({{7, 3}}, 10), ElementsAre(Bin{7, 7, 3}));
  EXPECT_THAT(Histogram({{2, 1}, {4, 5}}, 10),
              ElementsAre(Bin{2, 2, 1}, Bin{3, 3, 0}, Bin{4, 4, 5}));
}

TEST(HistogramTest, ElseEvenBinsThatLoseNothing) {
  EXPECT_THAT(Histogram({{0, 1}, {2, 2}, {5, 4}, {6, 8}}, 3),
              ElementsAre(Bin{0, 2, 3}, Bin{3, 5, 4}, Bin{6, 6, 8}));
  EXPECT_THAT(Histogram({{0, 1}, {3, 1}}, 2), ElementsAre(Bin{0, 1, 1}, Bin{2, 3, 1}));
}

TEST(HistogramTest, AnyValuesOfAFileAreFine) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const auto bins = Histogram({{0, 1}, {kMost, 2}}, 40);
  ASSERT_THAT(bins, SizeIs(40));
  EXPECT_EQ(bins.front().count, 1);
  EXPECT_EQ(bins.back(), (Bin{bins.back().from, kMost, 2}));
}

TEST(SpreadTest, NeverIsLaterThanAnything) {
  const Spread odd = SpreadOf({3.0, 1.0, 2.0});
  EXPECT_THAT(odd.median, Optional(2.0));
  EXPECT_THAT(odd.min, Optional(1.0));
  EXPECT_THAT(odd.max, Optional(3.0));
  EXPECT_THAT(SpreadOf({1.0, 2.0}).median, Optional(1.5));
  const Spread some = SpreadOf({std::nullopt, 5.0, 4.0});
  EXPECT_THAT(some.median, Optional(5.0));
  EXPECT_EQ(some.max, std::nullopt);
  EXPECT_EQ(some.known, 2);
  EXPECT_EQ(SpreadOf({std::nullopt, 5.0}).median, std::nullopt);
  EXPECT_EQ(SpreadOf({}).median, std::nullopt);
}

TEST(FleetTest, ReadsWhatIsThere) {
  const test::TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Fleet fleet,
      ReadFleet(dir.Write("fleet.json",
                          R"({"clients":[{"id":"a","seconds_per_step":0.5,"examples":7,
                                          "vanishes_at_seconds":null},{"id":"b"}]})")));
  EXPECT_THAT(fleet.clients.at("a").seconds_per_step, Optional(0.5));
  EXPECT_THAT(fleet.clients.at("a").examples, Optional(7));
  EXPECT_EQ(fleet.clients.at("a").vanishes_at_seconds, std::nullopt);
  EXPECT_EQ(fleet.clients.at("b").examples, std::nullopt);
  TRIB_ASSERT_OK_AND_ASSIGN(const Fleet none, ReadFleet(dir.File("none")));
  EXPECT_THAT(none.clients, IsEmpty());
}

TEST(FleetTest, SpeedChangesMultiplyFromTheirTimesOn) {
  const test::TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Fleet fleet,
      ReadFleet(dir.Write("fleet.json", R"({"clients":[{"id":"a","seconds_per_step":0.5},
                                                       {"id":"b","seconds_per_step":0.5}],
          "speed_changes":[{"at_seconds":10,"factor":4,"clients":["a"]},
                           {"at_seconds":20,"factor":0.5,"clients":["a","b"]}]})")));
  EXPECT_THAT(fleet.SecondsPerStep("a", 9.9), Optional(0.5));
  EXPECT_THAT(fleet.SecondsPerStep("a", 10), Optional(2.0));
  EXPECT_THAT(fleet.SecondsPerStep("a", 25), Optional(1.0));
  EXPECT_THAT(fleet.SecondsPerStep("b", 25), Optional(0.25));
  EXPECT_EQ(fleet.SecondsPerStep("c", 0), std::nullopt);
}

TEST(FleetTest, BadFleetsAreNamed) {
  const test::TempDir dir;
  const auto read = [&](const char* text) {
    return ReadFleet(dir.Write("fleet.json", text)).status();
  };
  EXPECT_THAT(read("7"), StatusIs(absl::StatusCode::kInvalidArgument,
                                  HasSubstr("fleet.json: is not a JSON object")));
  EXPECT_THAT(read(R"({"clients":7})"), StatusIs(absl::StatusCode::kInvalidArgument,
                                                 HasSubstr("fleet.json: clients: found 7")));
  EXPECT_THAT(read(R"({"clients":[{"id":"a"},{"id":"b","uplink_mbps":"fast"}]})"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("fleet.json: client 2: uplink_mbps: found \"fast\"; must be a "
                                 "number")));
  EXPECT_THAT(read(R"({"speed_changes":[{"at_seconds":1}]})"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("fleet.json: speed change 1: factor: found nothing")));
}

}  // namespace
}  // namespace tributary::report
