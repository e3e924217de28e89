// Whatever clients, operators and crashes do: when the jobs have ended, nothing of them is left in
// the spool.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/server/live/live_fixture.h"

namespace tributary::test {
namespace {

using ::testing::IsEmpty;

// A client that finishes, breaks off, repeats, abandons and forgets its work, by chance.
class FickleClient {
 public:
  FickleClient(LiveFixture* fixture, const std::string& id, Rng rng)
      : fixture_(fixture), client_(fixture, id), rng_(std::move(rng)) {}

  void Step() {
    if (!item_) {
      if (client_.Enroll().ok()) item_ = client_.GetWork();
      return;
    }
    const bool first_model = item_->order.kind == WorkKind::kInitialise;
    const std::string payload = first_model ? std::string(16, '\0') : RawPayload(client_.layout, 1);
    UploadHeader header = client_.Header(*item_, payload);
    switch (rng_.UniformInt(7)) {
      case 0:
        return;  // silent
      case 1:
        item_.reset();  // restarted without a memory
        return;
      case 2:
        fixture_->host().AbandonWork(client_.id(), item_->job, item_->order.id,
                                     LossCause::kAbandoned, "no", [](const absl::Status&) {});
        fixture_->Run();
        return;
      case 3:
        client_.Upload(header, payload, Below(payload.size()));
        return;
      case 4:  // the header, and whatever is done next meets the stream while it opens
        fixture_->host().OpenUpload(header, [](const absl::StatusOr<LiveHost::OpenedUpload>&) {});
        return;
      case 5:
        header.checksum.low ^= 1;  // refused when it is whole
        [[fallthrough]];
      default:
        client_.Upload(header, payload);
    }
  }

 private:
  uint64_t Below(uint64_t n) {
    return static_cast<uint64_t>(rng_.UniformInt(static_cast<int64_t>(n)));
  }

  LiveFixture* const fixture_;
  FakeClient client_;
  Rng rng_;
  std::optional<WorkItem> item_;
};

void RunJobs(uint64_t seed, bool keep_updates) {
  Rng rng(seed);
  LiveFixture fixture;
  fixture.Start();
  const nlohmann::json more = {{"keep_updates", keep_updates}, {"liveness_seconds", 3}};
  const std::vector<JobId> jobs = {fixture.Submit("a", 2, 3, {0, 0, 0, 0}, more),
                                   fixture.Submit("b", 1, 2, {}, more)};
  std::vector<FickleClient> clients;
  for (const char* id : {"x", "y", "z"}) clients.emplace_back(&fixture, id, rng.Split(id));
  const auto ended = [&](const JobId& job) { return IsEnded(fixture.Job(job).progress.state); };
  for (int step = 0; step < 150 && !(ended(jobs[0]) && ended(jobs[1])); ++step) {
    clients[static_cast<size_t>(rng.UniformInt(3))].Step();
    if (rng.UniformInt(3) == 0) fixture.Advance(absl::Seconds(1));
    if (rng.UniformInt(15) == 0) {
      for (int64_t left = rng.UniformInt(20); left > 0; --left) fixture.RunOne();
      fixture.Crash();
      fixture.Start();
    }
  }
  for (const JobId& job : jobs) {
    fixture.host().Command(job, event::Command::Verb::kCancel, [](const auto&) {});
    if (rng.UniformInt(2) == 0) clients[0].Step();
  }
  fixture.Run();
  EXPECT_TRUE(ended(jobs[0]) && ended(jobs[1]));
  EXPECT_THAT(fixture.SpoolFiles(), IsEmpty());
  EXPECT_EQ(fixture.spool().reserved_bytes(), 0u);
  fixture.Crash();
  fixture.Start();
  EXPECT_THAT(fixture.SpoolFiles(), IsEmpty());
}

TEST(SpoolCleanupTest, NothingIsLeftOfAnEndedJob) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    RunJobs(seed, seed % 2 == 0);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(SpoolCleanupTest, AStreamThatOpensAfterItsJobHasEndedLeavesNothing) {
  LiveFixture fixture;
  fixture.Start();
  FakeClient a(&fixture, "a");
  ASSERT_THAT(a.Enroll(), IsOk());
  const JobId job = fixture.Submit("demo", 1, 1, {0, 0, 0, 0});
  const auto work = a.GetWork();
  ASSERT_TRUE(work);
  const std::string payload = RawPayload(a.layout, 1);
  std::optional<absl::StatusOr<UploadAnswer>> answer;
  fixture.host().OpenUpload(a.Header(*work, payload),
                            [&](absl::StatusOr<LiveHost::OpenedUpload> opened) {
                              if (opened.ok() && opened->answer) answer = *opened->answer;
                            });
  fixture.host().Command(job, event::Command::Verb::kCancel, [](const auto&) {});
  fixture.Run();
  EXPECT_EQ(RefusedFor(answer), Refusal::kUnknownWorkOrder);
  EXPECT_THAT(fixture.SpoolFiles(), IsEmpty());
}

// The files of jobs and orders that nobody knows, as an older crash may have left them.
TEST(SpoolCleanupTest, ARestartRemovesOrphans) {
  LiveFixture fixture;
  fixture.Start();
  for (const bool complete : {false, true}) {
    TRIB_ASSERT_OK_AND_ASSIGN(
        const auto upload,
        fixture.spool().Begin({JobId("unknown"), complete ? 1 : 2, ClientId("c")}, 3, "h"));
    ASSERT_THAT(upload->Append(0, "abc"), IsOk());
    if (complete) {
      ASSERT_THAT(upload->Finish(), IsOk());
    }
  }
  ASSERT_EQ(fixture.SpoolFiles().size(), 5u);
  fixture.Crash();
  fixture.Start();
  EXPECT_THAT(fixture.SpoolFiles(), IsEmpty());
}

}  // namespace
}  // namespace tributary::test
