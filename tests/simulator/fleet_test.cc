#include "simulator/fleet.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simulator/small_world.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::SmallWorld;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const absl::Time kStart = absl::UnixEpoch();

absl::Time At(double seconds) { return kStart + absl::Seconds(seconds); }

class FleetTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::unique_ptr<const Fleet>> Create(std::vector<std::string> set) {
    auto file = SmallWorld(dir_, std::move(set));
    if (!file.ok()) return file.status();
    return Fleet::Create(*file);
  }
  std::unique_ptr<const Fleet> Make(std::vector<std::string> set) {
    auto fleet = Create(std::move(set));
    EXPECT_TRUE(fleet.ok()) << fleet.status();
    return *std::move(fleet);
  }
  const test::TempDir dir_;
};

TEST_F(FleetTest, WithoutFeaturesEverybodyIsThereAndTransfersTakeNoTime) {
  const auto fleet = Make({});
  ASSERT_EQ(fleet->size(), 8);
  for (int64_t i = 0; i < 8; ++i) {
    const Device& device = fleet->device(i);
    EXPECT_EQ(device.step_time, absl::Milliseconds(500));
    EXPECT_EQ(device.joins_at, kStart);
    EXPECT_EQ(device.vanishes_at, absl::InfiniteFuture());
    EXPECT_FALSE(device.link.has_value());
    EXPECT_EQ(fleet->DownloadTime(i, 1000), absl::ZeroDuration());
    EXPECT_FALSE(fleet->DrawDropout(i, 0).has_value());
    int64_t n = 0;
    EXPECT_EQ(fleet->NextPeriod(i, n, kStart), (OnlinePeriod{kStart, absl::InfiniteFuture()}));
  }
}

TEST_F(FleetTest, NamesSortAsIndicesDo) {
  const auto fleet = Make({"simulation.clients=120"});
  EXPECT_EQ(fleet->Id(7).value(), "client-007");
  for (int64_t i = 0; i < fleet->size(); ++i) EXPECT_EQ(fleet->IndexOf(fleet->Id(i)), i);
  EXPECT_LT(fleet->Id(99), fleet->Id(100));
}

TEST_F(FleetTest, AFeatureChangesNoOtherDraw) {
  const std::vector<std::pair<std::string, std::string>> features = {
      {"simulation.speed", "{exponential: {}}"},
      {"simulation.speed_changes", "[{at_seconds: 3, share: 0.5, factor: 2}]"},
      {"simulation.network", "{spread: 0.5}"},
      {"simulation.availability.dropout", "0.5"},
      {"simulation.availability.online", "{markov: {}}"},
      {"simulation.availability.vanishing", "{share: 0.5, by_seconds: 900}"},
      {"simulation.availability.late_joiners", "{share: 0.5, by_seconds: 900}"}};
  std::vector<std::string> all;
  for (const auto& [path, value] : features) all.push_back(absl::StrCat(path, "=", value));
  const auto with_all = Make(all);
  const auto vanishes = Make({all[5]});
  const auto joins = Make({all[6]});
  const auto speeds = Make({all[0]});
  const auto links = Make({all[2]});
  const auto drops = Make({all[3]});
  for (int64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(with_all->device(i).step_time, speeds->device(i).step_time);
    EXPECT_EQ(with_all->device(i).link->uplink_mbps, links->device(i).link->uplink_mbps);
    EXPECT_EQ(with_all->device(i).vanishes_at, vanishes->device(i).vanishes_at);
    EXPECT_EQ(with_all->device(i).joins_at, joins->device(i).joins_at);
    EXPECT_EQ(with_all->DrawDropout(i, 3), drops->DrawDropout(i, 3));
  }
  // Who vanishes and who joins late are two questions.
  EXPECT_NE(with_all->ToJson(std::vector<int64_t>(8)), vanishes->ToJson(std::vector<int64_t>(8)));
}

TEST_F(FleetTest, SharesAreExactAndTimesWithinTheirBound) {
  const auto fleet = Make({"simulation.clients=4000",
                           "simulation.availability.vanishing={share: 0.25, by_seconds: 600}",
                           "simulation.availability.late_joiners={share: 1, by_seconds: 50}"});
  int vanishing = 0;
  double sum = 0;
  for (int64_t i = 0; i < fleet->size(); ++i) {
    const Device& device = fleet->device(i);
    EXPECT_LE(device.joins_at, At(50));
    if (device.vanishes_at == absl::InfiniteFuture()) continue;
    ++vanishing;
    EXPECT_LE(device.vanishes_at, At(600));
    sum += absl::ToDoubleSeconds(device.vanishes_at - kStart);
  }
  EXPECT_EQ(vanishing, 1000);
  // Uniform: standard deviation 600 / √12, over 1,000 draws; five standard errors.
  EXPECT_NEAR(sum / 1000, 300, 5 * 600 / std::sqrt(12.0 * 1000));
}

TEST_F(FleetTest, ASpreadNetworkHasItsMedian) {
  const auto fleet =
      Make({"simulation.clients=4001",
            "simulation.network={uplink_mbps: 8, downlink_mbps: 16, latency_ms: 20, spread: 0.5}"});
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < fleet->size(); ++i) {
    const Link& link = *fleet->device(i).link;
    EXPECT_NEAR(link.downlink_mbps, 2 * link.uplink_mbps, 1e-9);
    EXPECT_EQ(link.latency_ms, 20);
    const double z = std::log(link.uplink_mbps / 8);
    sum += z;
    squares += z * z;
  }
  EXPECT_NEAR(sum / 4001, 0, 5 * 0.5 / std::sqrt(4001));
  EXPECT_NEAR(std::sqrt(squares / 4001), 0.5, 0.03);
}

TEST_F(FleetTest, TransfersTakeLatencyAndBytesOverRate) {
  const std::string path =
      dir_.Write("network.csv", "uplink_mbps,downlink_mbps,latency_ms\n1,8,0\n2,16,250\n");
  const auto fleet = Make({"simulation.clients=2", "job.scheduler={sync_round: {}}",
                           "job.scheduler.sync_round.clients_per_round=1",
                           absl::StrCat("simulation.network={trace: ", path, "}")});
  EXPECT_EQ(fleet->UploadTime(0, 1'000'000), absl::Seconds(8));
  EXPECT_EQ(fleet->DownloadTime(0, 1'000'000), absl::Seconds(1));
  EXPECT_EQ(fleet->UploadTime(1, 1'000'000), absl::Milliseconds(4250));
  EXPECT_EQ(fleet->DownloadTime(1, 1'000'000), absl::Milliseconds(750));
}

// Five steps of half a second: 2.5 s of work at the speed before any change.
TEST_F(FleetTest, ASpeedChangeHoldsForTheStepsThatRemain) {
  const auto fleet = Make(
      {"simulation.speed_changes=[{at_seconds: 10, factor: 0.5}, {at_seconds: 1, factor: 2}]"});
  EXPECT_EQ(fleet->TrainedAt(0, kStart, 2, 1.0), At(1)) << "done just before it";
  EXPECT_EQ(fleet->TrainedAt(0, kStart, 5, 1.0), At(1 + 1.5 * 2));
  EXPECT_EQ(fleet->TrainedAt(0, At(1), 5, 1.0), At(1 + 2.5 * 2));
  EXPECT_EQ(fleet->TrainedAt(0, At(0.5), 5, 1.2), At(1 + 2.5 * 2));
  // 0.5 s, then 9 s at half speed, then back to the first speed.
  EXPECT_EQ(fleet->TrainedAt(0, At(0.5), 14, 1.0), At(10 + (7 - 0.5 - 4.5)));
  EXPECT_EQ(fleet->TrainedAt(0, At(20), 5, 1.0), At(22.5));
}

TEST_F(FleetTest, ASpeedChangeConcernsItsShareAlone) {
  const auto fleet = Make({"simulation.speed_changes=[{at_seconds: 0, share: 0.25, factor: 3}]"});
  int slower = 0;
  for (int64_t i = 0; i < 8; ++i) {
    const absl::Time end = fleet->TrainedAt(i, kStart, 5, 1.0);
    EXPECT_TRUE(end == At(2.5) || end == At(7.5)) << end;
    slower += end == At(7.5) ? 1 : 0;
  }
  EXPECT_EQ(slower, 2);
  const nlohmann::json changes = fleet->ToJson(std::vector<int64_t>(8))["speed_changes"];
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0]["at_seconds"], 0);
  EXPECT_EQ(changes[0]["factor"], 3);
  EXPECT_EQ(changes[0]["clients"].size(), 2u);
}

TEST_F(FleetTest, PeriodsAreCutAtJoiningAndVanishing) {
  const std::string path = dir_.Write("online.csv",
                                      "client,from_seconds,to_seconds\n0,0,100\n0,200,300\n"
                                      "0,400,500\n0,600,700\n");
  const auto fleet =
      Make({"simulation.clients=1", "job.scheduler.sync_round.clients_per_round=1",
            absl::StrCat("simulation.availability.online={trace: {path: ", path, "}}"),
            "simulation.availability.vanishing={share: 1, by_seconds: 700}",
            "simulation.availability.late_joiners={share: 1, by_seconds: 400}"});
  const Device& device = fleet->device(0);
  std::vector<OnlinePeriod> expected;
  for (const double from : {0.0, 200.0, 400.0, 600.0}) {
    const OnlinePeriod whole{std::max(At(from), device.joins_at),
                             std::min(At(from + 100), device.vanishes_at)};
    if (whole.from < whole.to) expected.push_back(whole);
  }
  ASSERT_GT(expected.size(), 0u) << "the seed makes it vanish before it joins";
  int64_t n = 0;
  absl::Time after = kStart;
  for (const OnlinePeriod& period : expected) {
    EXPECT_EQ(fleet->NextPeriod(0, n, after), period);
    after = period.to;
  }
  EXPECT_EQ(fleet->NextPeriod(0, n, after), OnlinePeriod{});
  EXPECT_EQ(fleet->NextPeriod(0, n, after), OnlinePeriod{});
}

TEST_F(FleetTest, DropoutHasItsProbabilityAndAUniformPoint) {
  const auto fleet = Make({"simulation.availability.dropout=0.2"});
  int lost = 0;
  double sum = 0;
  for (int64_t n = 0; n < 10000; ++n) {
    const std::optional<double> point = fleet->DrawDropout(3, n);
    if (!point) continue;
    ++lost;
    EXPECT_GE(*point, 0);
    EXPECT_LT(*point, 1);
    sum += *point;
  }
  EXPECT_NEAR(lost, 2000, 5 * std::sqrt(10000 * 0.2 * 0.8));
  EXPECT_NEAR(sum / lost, 0.5, 5 / std::sqrt(12.0 * lost));
}

TEST_F(FleetTest, JsonHasWhatWasDrawn) {
  const auto fleet = Make({"simulation.network={uplink_mbps: 3}",
                           "simulation.availability.vanishing={share: 0.5, by_seconds: 9}"});
  const nlohmann::json json = fleet->ToJson(std::vector<int64_t>{5, 6, 7, 8, 9, 10, 11, 12});
  EXPECT_THAT(json["speed_changes"], IsEmpty());
  ASSERT_EQ(json["clients"].size(), 8u);
  int vanishing = 0;
  for (size_t i = 0; i < 8; ++i) {
    const nlohmann::json& client = json["clients"][i];
    EXPECT_EQ(client["id"], absl::StrCat("client-", i));
    EXPECT_EQ(client["seconds_per_step"], 0.5);
    EXPECT_EQ(client["uplink_mbps"], 3.0);
    EXPECT_EQ(client["downlink_mbps"], 50.0);
    EXPECT_EQ(client["latency_ms"], 40.0);
    EXPECT_EQ(client["examples"], 5 + i);
    EXPECT_EQ(client["joins_at_seconds"], 0.0);
    vanishing += client["vanishes_at_seconds"].is_number() ? 1 : 0;
  }
  EXPECT_EQ(vanishing, 4);
  EXPECT_TRUE(Make({})->ToJson(std::vector<int64_t>(8))["clients"][0]["uplink_mbps"].is_null());
}

TEST_F(FleetTest, ABadTraceIsRefusedWithItsPlaceInTheFile) {
  const std::string path = dir_.Write("short.csv", "seconds_per_step\n1\n2\n");
  EXPECT_THAT(Create({absl::StrCat("simulation.speed={trace: {path: ", path, "}}")}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("simulation.speed: "),
                             HasSubstr("short.csv: no line for client 2"))));
  EXPECT_THAT(Create({"simulation.network={trace: none.csv}"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("simulation.network.trace: "), HasSubstr("none.csv"))));
  EXPECT_THAT(
      Create({"simulation.availability.online={trace: {path: none.csv}}"}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("simulation.availability.online: ")));
}

}  // namespace
}  // namespace tributary
