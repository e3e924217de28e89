#include "schedulers/tiered.h"

#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "schedulers/scheduler_registry.h"
#include "tests/testing/scheduler_host.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::DoubleEq;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;
using ::tributary::test::At;
using ::tributary::test::IsOk;
using ::tributary::test::SchedulerHost;
using ::tributary::test::StatusIs;

class Host : public SchedulerHost {
 public:
  explicit Host(const TieredOptions& options)
      : SchedulerHost(TieredScheduler::Create(options, {.rng = Rng(1)}).value()) {}

  // Clients with these round times make the profile from 0 on; all are idle again at its end.
  Decision Profile(const std::map<std::string, double>& seconds) {
    for (const auto& [client, time] : seconds) In(0, client);
    EXPECT_THAT(Names(Timer(0)), SizeIs(seconds.size()));
    std::multimap<double, std::string> arrivals;
    for (const auto& [client, time] : seconds) arrivals.emplace(time, client);
    Decision last;
    for (const auto& [time, client] : arrivals) {
      EXPECT_THAT(last.close, IsEmpty()) << "the profile closes with its last update";
      last = Update(time, client, {.examples = 10});
      In(time, client);
    }
    Publish(arrivals.rbegin()->first);
    return last;
  }
  // All of a tier deliver and check in again; what the last one brings.
  Decision Deliver(double at, const std::vector<std::string>& clients) {
    Decision last;
    for (const std::string& client : clients) {
      last = Update(at, client);
      In(at, client);
    }
    for (size_t i = 0; i < last.close.size(); ++i) Publish(at);
    return last;
  }
  std::vector<int64_t> Clients() { return OfEachTier("clients"); }
  std::vector<int64_t> Rounds() { return OfEachTier("rounds"); }

 private:
  std::vector<int64_t> OfEachTier(const char* what) {
    std::vector<int64_t> numbers;
    const nlohmann::json stats = scheduler().Stats();
    for (const auto& tier : stats.at("tiers")) numbers.push_back(tier.at(what));
    return numbers;
  }
};

TieredOptions Tiers(int64_t tiers) {
  TieredOptions options;
  options.tiers = tiers;
  return options;
}

double Sum(const std::vector<double>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), 0.0);
}

const std::map<std::string, double> kFour = {{"a", 1}, {"b", 2}, {"c", 30}, {"d", 40}};

TEST(TieredTest, TheProfileIsARoundOfEverybodyCombinedAsInFedAvg) {
  Host host(Tiers(2));
  EXPECT_EQ(host.In(0, "a").wake_at, std::nullopt) << "two tiers need two clients";
  EXPECT_THAT(host.In(0, "b").wake_at, Optional(At(0)));
  ASSERT_THAT(host.Timer(0).dispatch, SizeIs(2));
  EXPECT_THAT(host.Update(1, "a", {.examples = 30}).close, IsEmpty());
  const Decision last = host.Update(9, "b", {.examples = 10});
  ASSERT_THAT(last.close, SizeIs(1));
  EXPECT_TRUE(last.close[0].mix_models);
  EXPECT_DOUBLE_EQ(Sum(last.close[0].coefficients), 1.0);
  const bool a_first = host.OrderOf("a").id == 1;
  EXPECT_DOUBLE_EQ(last.close[0].coefficients[a_first ? 0 : 1], 0.75);
  EXPECT_THAT(host.Clients(), ElementsAre(1, 1));
  EXPECT_THAT(host.Rounds(), ElementsAre(0, 0)) << "the profile is no round of a tier";
}

TEST(TieredTest, TiersAreEqualGroupsByRoundTime) {
  Host host(Tiers(3));
  host.Profile({{"a", 5}, {"b", 1}, {"c", 5}, {"d", 5}, {"e", 9}, {"f", 2}, {"g", 7}});
  EXPECT_THAT(host.Clients(), ElementsAre(2, 2, 3));
  const Decision start = host.Timer(9);
  std::map<GroupId, std::vector<std::string>> groups;
  for (const Dispatch& d : start.dispatch) groups[d.group].push_back(d.client.value());
  ASSERT_THAT(groups, SizeIs(3));
  auto group = groups.begin();
  EXPECT_THAT(group->second, UnorderedElementsAre("b", "f"));
  EXPECT_THAT((++group)->second, UnorderedElementsAre("a", "c")) << "equal times: by id";
  EXPECT_THAT((++group)->second, UnorderedElementsAre("d", "e", "g"));
}

TEST(TieredTest, TiersDoNotWaitForOneAnother) {
  Host host(Tiers(2));
  host.Profile(kFour);
  const Decision start = host.Timer(40);
  ASSERT_THAT(start.dispatch, SizeIs(4));
  for (const Dispatch& d : start.dispatch) {
    EXPECT_EQ(d.expected_at, At(40 + kFour.at(d.client.value())));
  }
  EXPECT_THAT(host.Update(41, "a").close, IsEmpty()) << "within a tier they wait";
  host.In(41, "a");
  EXPECT_THAT(host.Timer(41).dispatch, IsEmpty());
  EXPECT_THAT(host.Update(42, "b").close, SizeIs(1));
  host.Publish(42);
  host.In(42, "b");
  EXPECT_THAT(Host::Names(host.Timer(42)), UnorderedElementsAre("a", "b"));
  EXPECT_THAT(host.Rounds(), ElementsAre(1, 0));
}

// M = 2: uniform until both tiers have had a round; then T = (3, 1) weighs 1/4 and 3/4.
TEST(TieredTest, WeighsATierByTheRoundsOfItsMirrorImage) {
  for (const bool fast : {true, false}) {
    Host host(Tiers(2));
    host.Profile(kFour);
    host.Timer(40);
    for (int i = 1; i <= 3; ++i) {
      EXPECT_DOUBLE_EQ(Sum(host.Deliver(40 + i, {"a", "b"}).close.at(0).coefficients), 0.5);
      host.Timer(40 + i);
    }
    EXPECT_DOUBLE_EQ(Sum(host.Deliver(80, {"c", "d"}).close.at(0).coefficients), 0.5);
    host.Timer(80);
    ASSERT_THAT(host.Rounds(), ElementsAre(3, 1));
    if (fast) {
      EXPECT_THAT(host.Deliver(81, {"a", "b"}).close.at(0).coefficients, ElementsAre(0.125, 0.125));
    } else {
      EXPECT_THAT(host.Deliver(81, {"c", "d"}).close.at(0).coefficients, ElementsAre(0.375, 0.375));
    }
  }
}

TEST(TieredTest, WithinATierExamplesWeigh) {
  Host host(Tiers(1));
  host.Profile({{"a", 1}, {"b", 2}});
  host.Timer(2);
  host.Update(3, "a", {.examples = 1});
  const Close close = host.Update(4, "b", {.examples = 3}).close.at(0);
  EXPECT_THAT(close.coefficients, UnorderedElementsAre(DoubleEq(0.25), DoubleEq(0.75)))
      << "one tier is FedAvg";
}

TEST(TieredTest, ANewcomerIsMeasuredAndJoinsTheTierThatFits) {
  Host host(Tiers(2));
  host.Profile(kFour);
  host.Timer(40);
  host.In(50, "n");
  EXPECT_THAT(Host::Names(host.Timer(50)), ElementsAre("n")) << "at once, alone";
  EXPECT_THAT(host.Update(53, "n").close, IsEmpty()) << "3 s: slower than b, so of the slow tier";
  host.In(53, "n");
  EXPECT_THAT(host.Timer(53).dispatch, IsEmpty()) << "its tier has an open round";
  EXPECT_THAT(host.Clients(), ElementsAre(2, 3));
  const Close close = host.Deliver(80, {"c", "d"}).close.at(0);
  EXPECT_THAT(close.updates, SizeIs(3)) << "with the newcomer's first update";
  EXPECT_THAT(Host::Names(host.Timer(80)), UnorderedElementsAre("c", "d", "n"));
}

TEST(TieredTest, ANewcomersUpdateIsARoundOfItsOwnWhenItsTierHasNone) {
  Host host(Tiers(2));
  host.Profile(kFour);
  for (const auto& [client, time] : kFour) host.Out(40, client);
  host.In(50, "n");
  host.Timer(50);
  EXPECT_THAT(host.Update(51, "n").close, SizeIs(1));
  EXPECT_THAT(host.Rounds(), ElementsAre(1, 0));
}

TEST(TieredTest, ALostClientLeavesItsRoundAndReturnsToItsTier) {
  Host host(Tiers(2));
  host.Profile(kFour);
  host.Timer(40);
  host.Update(41, "a");
  EXPECT_THAT(host.Lost(60, "b").close, SizeIs(1)) << "a's update alone";
  host.In(61, "b");
  EXPECT_THAT(Host::Names(host.Timer(61)), ElementsAre("b"));
  EXPECT_THAT(host.Lost(62, "b").close, IsEmpty()) << "a round without updates makes nothing";
  EXPECT_THAT(host.Clients(), ElementsAre(2, 2));
}

TEST(TieredTest, AProfileThatAllAreLostFromStartsAgain) {
  Host host(Tiers(2));
  host.Start(0, 2);
  host.Lost(10, "a");
  host.Lost(10, "b");
  host.In(11, "a");
  host.In(11, "b");
  EXPECT_THAT(host.Timer(11).dispatch, SizeIs(2));
}

TEST(TieredTest, FewerMeasuredClientsThanTiersMakeFewerTiers) {
  Host host(Tiers(3));
  host.Start(0, 3);
  host.Lost(1, "a");
  host.Update(2, "b");
  ASSERT_THAT(host.Update(3, "c").close, SizeIs(1));
  EXPECT_THAT(host.Clients(), ElementsAre(1, 1));
}

TEST(TieredTest, DrawsSomeOfATierIfToldSo) {
  TieredOptions options = Tiers(2);
  options.clients_per_tier_round = 1;
  Host host(options);
  host.Profile(kFour);
  EXPECT_THAT(host.Timer(40).dispatch, SizeIs(2)) << "one of each tier";
}

TEST(TieredTest, MakesTiersAnewFromTheNewestTimes) {
  TieredOptions options = Tiers(2);
  options.retier_versions = 3;
  Host host(options);
  host.Profile({{"a", 1}, {"b", 2}, {"c", 30}, {"d", 40}});
  host.Timer(40);
  host.Deliver(41, {"a", "b"});
  host.Timer(41);
  host.Update(42, "a");
  host.In(42, "a");
  host.Update(43, "c");  // 3 s now
  host.In(43, "c");
  host.Deliver(101, {"b"});  // 60 s now, and the third version
  EXPECT_EQ(host.Stat("retierings"), 1);
  const Decision start = host.Timer(101);
  std::map<GroupId, std::vector<std::string>> groups;
  for (const Dispatch& d : start.dispatch) groups[d.group].push_back(d.client.value());
  ASSERT_THAT(groups, SizeIs(1)) << "the slow tier's round, with d, is still open";
  EXPECT_THAT(groups.begin()->second, UnorderedElementsAre("a", "c"));
}

TEST(TieredTest, AnUpdateOfWorkThatNobodyGaveIsDropped) {
  Host host(Tiers(2));
  host.Profile(kFour);
  EXPECT_THAT(
      host.Send(41, UpdateAccepted{.client = ClientId("a"), .work_order = 99, .group = 7}).drop,
      ElementsAre(99));
}

TEST(TieredTest, LoadRefusesAStateThatContradictsItself) {
  Host host(Tiers(2));
  host.Profile(kFour);
  host.Timer(40);
  const nlohmann::json good = host.scheduler().Save();
  std::vector<nlohmann::json> bad(6, good);
  bad[0]["tiers"][1]["outstanding"] = 7;
  bad[1]["bounds"] = nlohmann::json::array();
  bad[2]["tiers"][1]["available"] = {"a"};
  bad[3]["members"][0][1]["tier"] = 3;
  bad[4]["tiers"] = nlohmann::json::array();
  bad[5]["busy"][0][1]["group"] = 1000;
  for (const nlohmann::json& json : bad) {
    EXPECT_THAT(host.scheduler().Load(json),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("tiered")))
        << json;
    EXPECT_EQ(host.scheduler().Save(), good);
  }
  EXPECT_THAT(host.scheduler().Load(good), IsOk());
}

TEST(TieredTest, RefusesBadOptions) {
  const std::vector<std::pair<const char*, nlohmann::json>> bad = {{"tiers", 0},
                                                                   {"tiers", 101},
                                                                   {"min_available", 2},
                                                                   {"clients_per_tier_round", 0},
                                                                   {"retier_versions", 0}};
  for (const auto& [field, value] : bad) {
    EXPECT_THAT(SchedulerRegistry().Create({"tiered", {{field, value}}, {}}, {}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  }
  EXPECT_THAT(SchedulerRegistry().Create({"tiered", {{"min_available", 2}}, {}}, {}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("min_available is 2, too few for 3 tiers")));
}

}  // namespace
}  // namespace tributary
