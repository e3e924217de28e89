#include "simulator/online.h"

#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::StatusIs;
using ::testing::HasSubstr;

const absl::Time kStart = absl::UnixEpoch();

std::unique_ptr<OnlineModel> Make(const std::string& name, nlohmann::json options,
                                  int64_t clients = 1) {
  auto made =
      OnlineRegistry().Create({.name = name, .options = std::move(options)}, clients, Rng(5));
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

TEST(Online, AlwaysIsOnePeriodWithoutEnd) {
  const auto online = Make("always", nlohmann::json::object());
  EXPECT_EQ(online->Period(0, 0, kStart), (OnlinePeriod{kStart, absl::InfiniteFuture()}));
  EXPECT_EQ(online->Period(0, 1, absl::InfiniteFuture()), OnlinePeriod{});
}

// Mean lengths of the periods and the gaps, and the share of clients that begin online, which is
// the equilibrium's: on / (on + off).
TEST(Online, MarkovHasItsMeansAndBeginsInEquilibrium) {
  constexpr int kClients = 2000, kPeriods = 10;
  const auto online =
      Make("markov", {{"mean_online_seconds", 30}, {"mean_offline_seconds", 10}}, kClients);
  double on = 0, off = 0;
  int from_the_start = 0;
  for (int64_t client = 0; client < kClients; ++client) {
    absl::Time after = kStart;
    for (int64_t n = 0; n < kPeriods; ++n) {
      const OnlinePeriod period = online->Period(client, n, after);
      EXPECT_EQ(period, online->Period(client, n, after));
      ASSERT_LT(period.from, period.to);
      if (n == 0) {
        from_the_start += period.from == kStart ? 1 : 0;
      } else {
        ASSERT_LT(after, period.from);
        off += absl::ToDoubleSeconds(period.from - after);
      }
      on += absl::ToDoubleSeconds(period.to - period.from);
      after = period.to;
    }
  }
  // An exponential's standard deviation is its mean: five standard errors.
  EXPECT_NEAR(on / (kClients * kPeriods), 30, 5 * 30 / std::sqrt(kClients * kPeriods));
  EXPECT_NEAR(off / (kClients * (kPeriods - 1)), 10, 5 * 10 / std::sqrt(kClients * kPeriods));
  EXPECT_NEAR(from_the_start / static_cast<double>(kClients), 0.75, 0.05);
}

TEST(Online, TraceGivesItsPeriodsInOrder) {
  const test::TempDir dir;
  const std::string path =
      dir.Write("t.csv", "client,from_seconds,to_seconds\n0,20,30\n1,0,1e300\n0,0.5,20\n");
  const auto online = Make("trace", {{"path", path}}, 2);
  const auto at = [](double s) { return kStart + absl::Seconds(s); };
  EXPECT_EQ(online->Period(0, 0, kStart), (OnlinePeriod{at(0.5), at(20)}));
  EXPECT_EQ(online->Period(0, 1, at(20)), (OnlinePeriod{at(20), at(30)}));
  EXPECT_EQ(online->Period(0, 2, at(30)), OnlinePeriod{});
  EXPECT_EQ(online->Period(1, 0, kStart), (OnlinePeriod{kStart, absl::InfiniteFuture()}));
}

TEST(Online, RefusesWhatCannotBe) {
  const test::TempDir dir;
  const auto create = [&dir](const std::string& lines) {
    const std::string path = dir.Write("t.csv", "client,from_seconds,to_seconds\n" + lines);
    return OnlineRegistry().Create({.name = "trace", .options = {{"path", path}}}, 1, Rng(1));
  };
  EXPECT_THAT(create("0,5,5\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("t.csv: client 0: online from 5 to 5; allowed: an end after the "
                                 "beginning")));
  EXPECT_THAT(create("0,8,9\n0,1,8.5\n"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("t.csv: client 0: online again at 8 before going offline at 8.5; "
                                 "allowed: periods that do not overlap")));
  EXPECT_THAT(OnlineRegistry().Create({.name = "markov", .options = {{"mean_online_seconds", 0}}},
                                      1, Rng(1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mean_online_seconds")));
}

}  // namespace
}  // namespace tributary
