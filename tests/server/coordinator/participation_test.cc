#include "server/coordinator/participation.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;

const ClientId kA("a"), kB("b"), kC("c");

absl::Time At(int64_t seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }
// A time of the day that begins 1,000 days after the epoch.
absl::Time Clock(int hours, int minutes = 0) {
  return absl::UnixEpoch() + 1000 * absl::Hours(24) + absl::Hours(hours) + absl::Minutes(minutes);
}

ParticipationSpec Windows(std::vector<DailyWindow> windows) {
  ParticipationSpec spec;
  spec.windows = std::move(windows);
  return spec;
}
ParticipationSpec Places(int64_t places) {
  ParticipationSpec spec;
  spec.max_concurrency = places;
  return spec;
}
ParticipationSpec Rest(int64_t seconds) {
  ParticipationSpec spec;
  spec.min_interval_seconds = absl::Seconds(seconds);
  return spec;
}

TEST(DailyWindowTest, TakesTimesOfDay) {
  for (const auto& [from, to] : {std::pair("00:00", "24:00"), std::pair("06:30", "07:00"),
                                 std::pair("22:00", "06:00"), std::pair("24:00", "00:01")}) {
    EXPECT_THAT((DailyWindow{from, to}.Validate()), IsOk()) << from << " " << to;
  }
}

TEST(DailyWindowTest, RefusesWhatIsNone) {
  for (const char* bad :
       {"", "6:30", "06:60", "24:01", "25:00", "-1:00", "ab:cd", "06-30", "06:3", "06:300"}) {
    EXPECT_THAT((DailyWindow{bad, "12:00"}.Validate()),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("from"), HasSubstr(absl::StrCat("'", bad, "'")))));
    EXPECT_THAT((DailyWindow{"12:00", bad}.Validate()),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("to")));
  }
  for (const DailyWindow& shut : {DailyWindow{"07:00", "07:00"}, DailyWindow{"24:00", "00:00"}}) {
    EXPECT_THAT(shut.Validate(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("never open")));
  }
}

TEST(AdmissionTest, WithoutLimitsEverybodyMayWork) {
  Admission admission({});
  EXPECT_TRUE(admission.Ask(kA, At(0)));
  EXPECT_TRUE(admission.Finish(kA, At(1), /*wants_more=*/true)) << "keeps its place";
  EXPECT_FALSE(admission.Finish(kA, At(2), /*wants_more=*/false));
  EXPECT_TRUE(admission.Ask(kA, At(2)));
  EXPECT_TRUE(admission.IsOpen(At(3)));
  EXPECT_EQ(admission.NextChange(At(3)), absl::InfiniteFuture());
  EXPECT_EQ(admission.NotBefore(kA, At(3)), At(3));
}

TEST(AdmissionTest, BeyondThePlacesClientsTakeTurns) {
  Admission admission(Places(1));
  EXPECT_TRUE(admission.Ask(kA, At(0)));
  EXPECT_FALSE(admission.Ask(kB, At(1)));
  EXPECT_FALSE(admission.Ask(kC, At(2)));
  EXPECT_FALSE(admission.Ask(kB, At(3))) << "asking again does not lose the turn";
  EXPECT_THAT(admission.Admit(At(4)), IsEmpty());
  EXPECT_FALSE(admission.Finish(kA, At(5), true)) << "others wait";
  EXPECT_FALSE(admission.Ask(kA, At(5))) << "behind those who wait, although a place is free";
  EXPECT_THAT(admission.Admit(At(5)), ElementsAre(kB));
  EXPECT_FALSE(admission.Finish(kB, At(6), true));
  EXPECT_THAT(admission.Admit(At(6)), ElementsAre(kC));
  admission.FreePlace();
  EXPECT_THAT(admission.Admit(At(7)), ElementsAre(kA));
  EXPECT_TRUE(admission.Finish(kA, At(8), true)) << "nobody else waits";
}

TEST(AdmissionTest, WhoHasWithdrawnIsNotAdmitted) {
  Admission admission(Places(1));
  ASSERT_TRUE(admission.Ask(kA, At(0)));
  admission.Ask(kB, At(0));
  admission.Ask(kC, At(0));
  admission.Withdraw(kB);
  admission.Withdraw(kB);
  admission.FreePlace();
  EXPECT_THAT(admission.Admit(At(1)), ElementsAre(kC));
  admission.FreePlace();
  EXPECT_THAT(admission.Admit(At(1)), IsEmpty());
  EXPECT_TRUE(admission.Ask(kB, At(2))) << "it may ask again";
}

TEST(AdmissionTest, AClientRestsBetweenTwoOrders) {
  Admission admission(Rest(60));
  ASSERT_TRUE(admission.Ask(kA, At(0)));
  EXPECT_FALSE(admission.Finish(kA, At(10), true));
  EXPECT_EQ(admission.NotBefore(kA, At(20)), At(70));
  EXPECT_FALSE(admission.Ask(kA, At(20)));
  EXPECT_EQ(admission.NextChange(At(20)), At(70));
  EXPECT_THAT(admission.Admit(At(69)), IsEmpty());
  EXPECT_THAT(admission.Admit(At(70)), ElementsAre(kA));
  EXPECT_TRUE(admission.Ask(kB, At(70))) << "another client has not worked yet";
}

TEST(AdmissionTest, ARestingClientThatHasWithdrawnStillRests) {
  Admission admission(Rest(60));
  ASSERT_TRUE(admission.Ask(kA, At(0)));
  admission.Finish(kA, At(10), false);
  admission.Ask(kA, At(11));
  admission.Withdraw(kA);
  EXPECT_THAT(admission.Admit(At(100)), IsEmpty());
  EXPECT_EQ(admission.NextChange(At(100)), absl::InfiniteFuture());
  EXPECT_TRUE(admission.Ask(kA, At(100)));
}

TEST(AdmissionTest, WindowsAreHalfOpen) {
  const Admission admission(Windows({{"09:00", "17:00"}}));
  EXPECT_FALSE(admission.IsOpen(Clock(9) - absl::Nanoseconds(1)));
  EXPECT_TRUE(admission.IsOpen(Clock(9)));
  EXPECT_TRUE(admission.IsOpen(Clock(17) - absl::Nanoseconds(1)));
  EXPECT_FALSE(admission.IsOpen(Clock(17)));
}

TEST(AdmissionTest, AWindowMayGoOverMidnight) {
  const Admission admission(Windows({{"22:00", "06:00"}}));
  for (const int hour : {22, 23, 24, 25, 29}) EXPECT_TRUE(admission.IsOpen(Clock(hour))) << hour;
  for (const int hour : {6, 12, 21, 30}) EXPECT_FALSE(admission.IsOpen(Clock(hour))) << hour;
  EXPECT_EQ(admission.NotBefore(kA, Clock(12)), Clock(22));
  EXPECT_EQ(admission.NotBefore(kA, Clock(23)), Clock(23));
}

TEST(AdmissionTest, OfSeveralWindowsTheNextOneCounts) {
  Admission admission(Windows({{"09:00", "10:00"}, {"20:00", "21:00"}, {"09:30", "11:00"}}));
  EXPECT_EQ(admission.NotBefore(kA, Clock(8)), Clock(9));
  EXPECT_EQ(admission.NotBefore(kA, Clock(10, 30)), Clock(10, 30)) << "they overlap";
  EXPECT_EQ(admission.NotBefore(kA, Clock(11)), Clock(20));
  EXPECT_EQ(admission.NotBefore(kA, Clock(21)), Clock(33));
  EXPECT_FALSE(admission.Ask(kA, Clock(11)));
  EXPECT_EQ(admission.NextChange(Clock(11)), Clock(20));
  EXPECT_THAT(admission.Admit(Clock(20)), ElementsAre(kA));
  EXPECT_EQ(admission.NextChange(Clock(20)), Clock(21)) << "it has a place: the end matters";
}

TEST(AdmissionTest, AWholeDayNeverCloses) {
  const Admission admission(Windows({{"00:00", "24:00"}}));
  for (int hour = 0; hour < 25; ++hour) EXPECT_TRUE(admission.IsOpen(Clock(hour)));
}

TEST(AdmissionTest, RestEndsInsideAWindowOrAtTheNext) {
  ParticipationSpec spec = Windows({{"09:00", "17:00"}});
  spec.min_interval_seconds = absl::Hours(2);
  Admission admission(spec);
  ASSERT_TRUE(admission.Ask(kA, Clock(9)));
  admission.Finish(kA, Clock(10), false);
  EXPECT_EQ(admission.NotBefore(kA, Clock(10)), Clock(12));
  admission.Ask(kA, Clock(12));
  admission.Finish(kA, Clock(16), false);
  EXPECT_EQ(admission.NotBefore(kA, Clock(16)), Clock(33)) << "tomorrow at nine";
}

// Whatever happens: never more places than allowed, nobody admitted twice or out of time, and
// nobody forgotten.
TEST(AdmissionTest, KeepsItsLimitsUnderRandomEvents) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    ParticipationSpec spec = Windows({{"00:10", "00:40"}, {"00:50", "00:00"}});
    spec.max_concurrency = 1 + rng.UniformInt(4);
    spec.min_interval_seconds = absl::Seconds(rng.UniformInt(200));
    Admission admission(spec);
    enum class Is { kAway, kWaiting, kWorking };
    std::vector<Is> clients(12, Is::kAway);
    std::vector<absl::Time> rested(12, absl::InfinitePast());
    std::vector<int> turns(12, 0);
    absl::Time now = absl::UnixEpoch();
    const auto admit = [&](size_t i) {
      EXPECT_TRUE(admission.IsOpen(now));
      EXPECT_GE(now, rested[i]);
      clients[i] = Is::kWorking;
      ++turns[i];
    };
    for (int step = 0; step < 5000; ++step) {
      now += absl::Seconds(rng.UniformInt(30));
      const auto i = static_cast<size_t>(rng.UniformInt(12));
      const ClientId id(absl::StrCat("c", i));
      if (clients[i] == Is::kWorking) {
        rested[i] = now + spec.min_interval_seconds;
        clients[i] = Is::kAway;
        if (admission.Finish(id, now, rng.Bernoulli(0.5))) admit(i);
      } else if (clients[i] == Is::kWaiting && rng.Bernoulli(0.1)) {
        admission.Withdraw(id);
        clients[i] = Is::kAway;
      } else if (clients[i] == Is::kAway) {
        clients[i] = Is::kWaiting;
        if (admission.Ask(id, now)) admit(i);
      }
      for (const ClientId& admitted : admission.Admit(now)) {
        const auto k = static_cast<size_t>(std::stoi(admitted.value().substr(1)));
        ASSERT_EQ(clients[k], Is::kWaiting) << admitted;
        admit(k);
      }
      ASSERT_LE(std::count(clients.begin(), clients.end(), Is::kWorking), *spec.max_concurrency);
      ASSERT_GT(admission.NextChange(now), now);
    }
    EXPECT_GT(*std::min_element(turns.begin(), turns.end()), 10) << "somebody was forgotten";
  }
}

}  // namespace
}  // namespace tributary
