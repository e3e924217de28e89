#include "server/live/job_export.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "nlohmann/json.hpp"
#include "server/coordinator/run_record.h"
#include "tests/server/live/live_fixture.h"

namespace tributary::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class JobExportTest : public ::testing::Test {
 protected:
  JobExportTest() { fixture_.Start(); }

  // A job of two versions, one client, and an evaluator that reports each version.
  JobId RunJob(const nlohmann::json& more = {}) {
    FakeClient a(&fixture_, "a"), evaluator(&fixture_, "e", /*evaluate_only=*/true);
    EXPECT_THAT(a.Enroll(), IsOk());
    EXPECT_THAT(evaluator.Enroll(), IsOk());
    const JobId job = fixture_.Submit("demo", 1, 2, {0, 0, 0, 0}, more);
    for (int version = 0; version < 3; ++version) {
      fixture_.Advance(absl::Seconds(10));
      const auto evaluation = evaluator.GetWork();
      if (evaluation) {
        EXPECT_TRUE(evaluator.Report(*evaluation, 2.0 - version, 0.25 * version, 100));
      }
      const auto work = a.GetWork();
      if (!work) break;
      EXPECT_TRUE(Accepted(a.UploadDelta(*work, 1)));
    }
    EXPECT_EQ(fixture_.Job(job).progress.state, JobState::kDone);
    return job;
  }

  LiveFixture fixture_;
};

TEST_F(JobExportTest, AnEndedJobHasTheFilesOfASimulatedRun) {
  const JobId job = RunJob();
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport made, fixture_.Export(job));
  EXPECT_EQ(made.job, job);
  EXPECT_EQ(made.version, 2);
  EXPECT_THAT(made.kept, IsEmpty());
  EXPECT_THAT(made.events, StartsWith("{\"initial_model\":true,\"job\":{"));
  EXPECT_THAT(made.events, HasSubstr("\"action\":\"publish_version\""));
  EXPECT_THAT(made.events, HasSoundDigests());
  EXPECT_EQ(made.metrics,
            "version,virtual_seconds,updates,loss,accuracy,uplink_bytes,downlink_bytes,"
            "client_steps,server_rate,mean_staleness,client_rate,phase,task\n"
            "0,0.0,0,2.0,0.0,0,,0,1.0,0.0,1.0,initialise,0\n"
            "1,10.0,1,1.0,0.25,16,,1,1.0,0.0,1.0,train,0\n"
            "2,20.0,2,0.0,0.5,32,,2,1.0,0.0,1.0,train,0\n");
  const auto summary = nlohmann::json::parse(made.summary);
  EXPECT_EQ(summary.at("name"), "demo");
  EXPECT_EQ(summary.at("versions"), 2);
  EXPECT_EQ(summary.at("updates"), 2);
  EXPECT_EQ(summary.at("model_digest"), fixture_.Job(job).progress.model_digest.ToHex());
  EXPECT_EQ(summary.at("wall_seconds"), 30.0);
  EXPECT_EQ(summary.at("uplink_bytes_dense"), 32);
  EXPECT_EQ(summary.at("clients").at("count"), 1);
  EXPECT_EQ(summary.at("final").at("accuracy"), 0.5);
  for (const char* simulated : {"virtual_seconds", "train_flops", "peak_rss_bytes"}) {
    EXPECT_FALSE(summary.contains(simulated)) << simulated;
  }
}

TEST_F(JobExportTest, ARunningJobHasWhatThereIs) {
  FakeClient a(&fixture_, "a");
  ASSERT_THAT(a.Enroll(), IsOk());
  const JobId job = fixture_.Submit("demo", 1, 5, {});
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport before, fixture_.Export(job));
  EXPECT_EQ(before.version, -1);
  ASSERT_TRUE(a.GetWork());
  fixture_.Advance(absl::Seconds(3));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport made, fixture_.Export(job));
  EXPECT_EQ(made.version, -1);
  EXPECT_THAT(made.events, HasSubstr("\"kind\":\"initialise\""));
  EXPECT_THAT(made.events, HasSoundDigests());
  EXPECT_EQ(nlohmann::json::parse(made.summary).at("wall_seconds"), 3.0);
  EXPECT_THAT(fixture_.Export(JobId("other-1")), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(JobExportTest, UpdatesAreKeptIfTheJobSaysSo) {
  const JobId job = RunJob({{"keep_updates", true}, {"keep_versions", 1}});
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport made, fixture_.Export(job));
  std::vector<std::string> names;
  for (const JobExport::KeptFile& file : made.kept) names.push_back(file.name);
  EXPECT_THAT(names,
              ::testing::UnorderedElementsAre(kFirstModelFile, ::testing::EndsWith(".update"),
                                              ::testing::EndsWith(".update")));
}

TEST_F(JobExportTest, AnUpdateThatIsNeverUsedIsKeptToo) {
  FakeClient a(&fixture_, "a"), b(&fixture_, "b");
  ASSERT_THAT(a.Enroll(), IsOk());
  ASSERT_THAT(b.Enroll(), IsOk());
  const JobId job = fixture_.Submit("demo", 2, 1, {0, 0, 0, 0}, {{"keep_updates", true}});
  a.CheckIn();
  const auto work_b = b.GetWork(), work_a = a.GetWork();
  ASSERT_TRUE(work_a && work_b);
  ASSERT_TRUE(Accepted(a.UploadDelta(*work_a, 1)));
  fixture_.host().Command(job, event::Command::Verb::kCancel,
                          [](const absl::StatusOr<JobView>& view) { EXPECT_THAT(view, IsOk()); });
  ASSERT_TRUE(fixture_.Run());
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport made, fixture_.Export(job));
  ASSERT_EQ(made.kept.size(), 2u);
  EXPECT_EQ(made.kept[0].name, UpdateFile(work_a->order.id));
}

// A journal that was written before there were digests, or by a coordinator that decided otherwise,
// goes out as it is: replay is to find out.
TEST_F(JobExportTest, TheJournalGoesOutAsItIs) {
  const JobId job = RunJob();
  TRIB_ASSERT_OK_AND_ASSIGN(const JobRecord record, fixture_.store().GetJob(job));
  TRIB_ASSERT_OK_AND_ASSIGN(std::vector<std::string> journal, fixture_.store().ReadJournal(job));
  const std::string changed =
      absl::StrReplaceAll(journal[1], {{"\"digest\":\"", "\"digest\":\"x"}});
  ASSERT_NE(journal[1], changed);
  journal[1] = changed;
  TRIB_ASSERT_OK_AND_ASSIGN(const JobExport made,
                            MakeExport(record, journal, nullptr, fixture_.clock().Now()));
  EXPECT_THAT(made.events, HasSubstr(changed));
  EXPECT_THAT(made.events, Not(HasSoundDigests()));
  journal[2] = "{}";
  EXPECT_THAT(MakeExport(record, journal, nullptr, fixture_.clock().Now()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("journal of job demo-1, line 3")));
}

}  // namespace
}  // namespace tributary::test
