// Limits of the spool and a full disk: uploads come back later, jobs pause by themselves and go on
// by themselves, and nothing that was acknowledged is lost.
#include <optional>

#include "server/live/disk_alarm.h"
#include "tests/server/live/live_fixture.h"

namespace tributary::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::StartsWith;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kPayload = 16;  // of FakeClient::UploadDelta
constexpr uint64_t kAll = ~uint64_t{0};

TEST(DiskAlarmTest, FollowsWhatIsMeasured) {
  const absl::Time t = absl::FromUnixSeconds(1000);
  DiskAlarm alarm(100);
  EXPECT_FALSE(alarm.on());
  EXPECT_FALSE(alarm.Measured(t, 100));
  EXPECT_TRUE(alarm.Measured(t, 99));
  EXPECT_TRUE(alarm.on());
  EXPECT_EQ(alarm.reason(), "disk full: 99 bytes free, at least 100 (limits.min_free_bytes)");
  EXPECT_FALSE(alarm.Measured(t, 0));
  EXPECT_TRUE(alarm.Measured(t, 100));
  EXPECT_EQ(alarm.reason(), "");
}

TEST(DiskAlarmTest, AFailedWriteCountsMoreThanWhatIsMeasuredForAWhile) {
  const absl::Time t = absl::FromUnixSeconds(1000);
  DiskAlarm alarm(100);
  EXPECT_TRUE(alarm.WriteFailed(t, absl::UnavailableError("no space for /x")));
  EXPECT_EQ(alarm.reason(), "disk full: no space for /x");
  const absl::Duration instant = absl::Nanoseconds(1);
  EXPECT_FALSE(alarm.Measured(t + DiskAlarm::kPatience - instant, kAll));
  EXPECT_FALSE(alarm.WriteFailed(t + instant, absl::UnavailableError("again")));
  EXPECT_FALSE(alarm.Measured(t + DiskAlarm::kPatience, kAll));
  EXPECT_TRUE(alarm.Measured(t + DiskAlarm::kPatience + instant, kAll));
  EXPECT_FALSE(alarm.on());
}

class DiskTest : public ::testing::Test {
 protected:
  explicit DiskTest(SpoolLimits limits = {}) : fixture_({}, limits) { fixture_.Start(); }

  FakeClient Client(const std::string& id) {
    FakeClient client(&fixture_, id);
    EXPECT_THAT(client.Enroll(), IsOk());
    return client;
  }
  JobId Submit(const std::string& name, int64_t versions = 1) {
    return fixture_.Submit(name, 1, versions, {0, 0, 0, 0});
  }
  void FillDisk() {
    fixture_.free_bytes = 10;
    fixture_.Advance(absl::Seconds(1));
  }
  void MakeRoom() {
    fixture_.free_bytes = 1'000'000;
    fixture_.Advance(absl::Seconds(1));
  }
  JobProgress Progress(const JobId& job) { return fixture_.Job(job).progress; }
  void ExpectPaused(const JobId& job, const std::string& why) {
    EXPECT_EQ(Progress(job).state, JobState::kPaused);
    EXPECT_THAT(Progress(job).reason, StartsWith("disk full: "));
    EXPECT_THAT(Progress(job).reason, HasSubstr(why));
    EXPECT_THAT(fixture_.host().Ready(),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("disk")));
  }
  void ExpectRunning(const JobId& job) {
    EXPECT_EQ(Progress(job).state, JobState::kRunning);
    EXPECT_EQ(Progress(job).reason, "");
    EXPECT_THAT(fixture_.host().Ready(), IsOk());
  }
  absl::StatusOr<JobView> Command(const JobId& job, event::Command::Verb verb) {
    absl::StatusOr<JobView> result = absl::UnknownError("no answer");
    fixture_.host().Command(job, verb, [&](absl::StatusOr<JobView> view) { result = view; });
    fixture_.Run();
    return result;
  }

  LiveFixture fixture_;
};

class QuotaTest : public DiskTest {
 protected:
  QuotaTest() : DiskTest({.total_bytes = kPayload + 4, .bytes_per_client = kPayload}) {}
};

TEST_F(QuotaTest, AnUploadThatDoesNotFitComesBackAndIsCounted) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId first = Submit("first");
  const auto work_a = a.GetWork();
  ASSERT_TRUE(work_a);
  const std::string payload = RawPayload(a.layout, 1);
  ASSERT_EQ(payload.size(), kPayload);
  ASSERT_TRUE(a.Upload(a.Header(*work_a, payload), payload, 5));
  const JobId second = Submit("second");
  const auto work_b = b.GetWork();
  ASSERT_TRUE(work_b);
  ASSERT_EQ(work_b->job, second);

  for (int i = 0; i < 3; ++i) {
    const auto answer = b.UploadDelta(*work_b, 1);
    ASSERT_TRUE(PutOff(answer));
    EXPECT_GT((*answer)->retry.max_delay, (*answer)->retry.min_delay);
    EXPECT_GT((*answer)->retry.min_delay, absl::ZeroDuration());
    EXPECT_THAT((*answer)->message, HasSubstr("limits.spool_bytes)"));
    // Asking is a sign of life: the order outlives its liveness.
    fixture_.Advance(work_b->liveness / 2);
    ASSERT_TRUE(*a.Progress(*work_a));
  }
  EXPECT_THAT(fixture_.Job(second).put_off, UnorderedElementsAre(Pair("spool", 3)));
  EXPECT_THAT(fixture_.Job(first).put_off, IsEmpty());
  EXPECT_THAT(Progress(second).lost, IsEmpty());
  ASSERT_TRUE(Accepted(a.UploadDelta(*work_a, 1)));
  EXPECT_EQ(Progress(first).state, JobState::kDone);
  EXPECT_TRUE(Accepted(b.UploadDelta(*work_b, 1)));
  EXPECT_EQ(Progress(second).state, JobState::kDone);
  EXPECT_EQ(Progress(second).updates, 1);
  EXPECT_THAT(fixture_.SpoolFiles(), IsEmpty());
}

TEST_F(QuotaTest, AnUpdateThatCanNeverFitIsRefusedForGood) {
  FakeClient a = Client("a");
  a.layout = FlatLayout(5);
  const JobId job = fixture_.Submit("demo", 1, 1, {});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  const std::string payload(20, '\0');
  const auto answer = a.Upload(a.Header(*work, payload), payload);
  EXPECT_EQ(RefusedFor(answer), Refusal::kTooLarge);
  EXPECT_THAT((*answer)->message,
              HasSubstr("found 20, at most 16 can ever be taken (limits.spool_bytes_per_client)"));
  EXPECT_EQ(fixture_.Lost(job, "too_large"), 1);
  EXPECT_THAT(fixture_.SpoolFiles(), IsEmpty());
}

TEST_F(DiskTest, JobsPauseWithoutRoomAndGoOnWithIt) {
  FakeClient a = Client("a"), b = Client("b");
  const JobId job = Submit("demo", 2);
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  int told = 0;
  TRIB_ASSERT_OK_AND_ASSIGN(const int64_t watcher, fixture_.host().Watch(job, [&] { ++told; }));
  FillDisk();
  ExpectPaused(job, "10 bytes free, at least 100000");
  EXPECT_EQ(told, 1);
  EXPECT_EQ(fixture_.Job(job).disk_pauses, 1);

  ASSERT_TRUE(PutOff(a.UploadDelta(*work, 1)));
  EXPECT_THAT(fixture_.Job(job).put_off, UnorderedElementsAre(Pair("disk", 1)));
  EXPECT_THAT(fixture_.SpoolFiles(), IsEmpty());
  b.CheckIn(absl::Seconds(20));
  EXPECT_FALSE(b.answer);
  EXPECT_THAT(a.Progress(*work), IsOkAndHolds(true));

  MakeRoom();
  ExpectRunning(job);
  EXPECT_GT(told, 1);
  fixture_.host().Unwatch(job, watcher);
  EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  EXPECT_EQ(Progress(job).version, 1);
  ASSERT_TRUE(b.answer && b.answer->ok()) << "the held check-in is given the next work";
  EXPECT_TRUE(Accepted(b.UploadDelta(std::get<WorkItem>(**b.answer), 1)));
  EXPECT_EQ(Progress(job).state, JobState::kDone);
  EXPECT_EQ(Progress(job).updates, 2);
}

TEST_F(DiskTest, WhatAnOperatorPausedStaysPaused) {
  FakeClient a = Client("a");
  const JobId job = Submit("demo");
  using Verb = event::Command::Verb;
  ASSERT_THAT(Command(job, Verb::kPause), IsOk());
  FillDisk();
  ExpectPaused(job, "10 bytes free");
  MakeRoom();
  EXPECT_EQ(Progress(job).state, JobState::kPaused);
  EXPECT_EQ(Progress(job).reason, "");
  EXPECT_FALSE(a.GetWork());

  FillDisk();
  TRIB_ASSERT_OK_AND_ASSIGN(const JobView resumed, Command(job, Verb::kResume));
  EXPECT_EQ(resumed.progress.state, JobState::kPaused) << "until there is room";
  EXPECT_FALSE(a.GetWork());
  MakeRoom();
  ExpectRunning(job);
  EXPECT_TRUE(a.GetWork());
}

TEST_F(DiskTest, AnEndedJobIsNotPaused) {
  FakeClient a = Client("a");
  const JobId job = Submit("demo");
  FillDisk();
  ASSERT_THAT(Command(job, event::Command::Verb::kCancel), IsOk());
  EXPECT_EQ(Progress(job).state, JobState::kCancelled);
}

// Nobody is told of what the journal does not have; afterwards everything counts once.
TEST_F(DiskTest, AJournalWithoutRoomPausesAndLosesNothing) {
  FakeClient a = Client("a");
  const JobId job = Submit("demo", 2);
  auto work = a.GetWork();
  ASSERT_TRUE(work);
  fixture_.store().full = true;
  EXPECT_FALSE(a.UploadDelta(*work, 1)) << "acknowledged without being durable";
  fixture_.Advance(absl::Seconds(5));
  ExpectPaused(job, "database: disk is full");
  fixture_.store().full = false;
  fixture_.Advance(absl::Seconds(5));
  ExpectPaused(job, "database: disk is full");  // soon after a failure it is not tried again
  fixture_.Advance(absl::Seconds(10));
  ExpectRunning(job);
  EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  work = a.GetWork();
  ASSERT_TRUE(work);
  EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  EXPECT_EQ(Progress(job).state, JobState::kDone);
  EXPECT_EQ(Progress(job).updates, 2);
  EXPECT_THAT(*fixture_.store().LoadModel(job, 2), ParamsNear({2, 2, 2, 1}, 0));
  EXPECT_EQ(fixture_.store().GetJob(job)->state, "done");
}

TEST_F(DiskTest, AVersionWithoutRoomWaitsAndIsMadeOnce) {
  FakeClient a = Client("a");
  const JobId job = Submit("demo");
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  fixture_.store().full_for_versions = true;
  ASSERT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  ExpectPaused(job, "database: disk is full");
  fixture_.Advance(absl::Minutes(10));  // tried again now and then
  ExpectPaused(job, "database: disk is full");
  EXPECT_GT(fixture_.Job(job).disk_pauses, 10);
  fixture_.store().full_for_versions = false;
  fixture_.Advance(absl::Seconds(12));
  EXPECT_EQ(Progress(job).state, JobState::kDone) << Progress(job).reason;
  EXPECT_THAT(*fixture_.store().LoadModel(job, 1), ParamsNear({1, 1, 1, 1}, 0));
  EXPECT_THAT(fixture_.SpoolFiles(), IsEmpty());
}

TEST_F(DiskTest, AVersionThatWaitsForRoomDoesNotHoldUpTheShutdown) {
  FakeClient a = Client("a");
  const JobId job = Submit("demo");
  fixture_.store().full_for_versions = true;
  ASSERT_TRUE(Accepted(a.UploadDelta(*a.GetWork(), 1)));
  bool drained = false;
  fixture_.host().Drain([&] { drained = true; });
  fixture_.Run();
  EXPECT_TRUE(drained);
  fixture_.store().full_for_versions = false;
  fixture_.Crash();
  fixture_.Start();
  fixture_.Run();
  EXPECT_EQ(Progress(job).state, JobState::kDone);
}

TEST_F(DiskTest, ACrashWithoutRoomLosesNothing) {
  FakeClient a = Client("a");
  const JobId job = Submit("demo", 2);
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  fixture_.store().full_for_versions = true;
  ASSERT_TRUE(Accepted(a.UploadDelta(*work, 1)));
  fixture_.store().full = true;
  fixture_.Advance(absl::Seconds(3));
  fixture_.Crash();
  fixture_.store().full = fixture_.store().full_for_versions = false;
  fixture_.Start();
  fixture_.Run();
  EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1))) << "it has it already";
  EXPECT_EQ(Progress(job).version, 1);
  EXPECT_EQ(Progress(job).updates, 1);
}

}  // namespace
}  // namespace tributary::test
