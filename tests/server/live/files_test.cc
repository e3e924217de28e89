// What the host does with the files of a job: takes them, keeps programs over restarts, hands these
// out.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/durable_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/live/live_fixture.h"
#include "tests/testing/status_matchers.h"

namespace tributary::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Code = absl::StatusCode;

class LiveFilesTest : public ::testing::Test {
 protected:
  LiveFilesTest() { fixture_.Start(); }

  static JobSpec Spec(const std::string& program) {
    nlohmann::json json = {{"name", "demo"},
                           {"model", {{"custom", "fake"}}},
                           {"train", {{"local_steps", 1}}},
                           {"scheduler", {{"sync_round", {{"clients_per_round", 1}}}}},
                           {"stop", {{"versions", 1}}}};
    JobSpec spec = *ParseJobSpecJson(json.dump());
    spec.model = {.program = ProgramSpecOf(program)};
    return spec;
  }
  absl::StatusOr<JobId> Submit(JobSpec spec, std::optional<FileDigest> initial = std::nullopt) {
    absl::StatusOr<JobId> result = absl::DeadlineExceededError("no answer");
    fixture_.host().SubmitJob(
        {.request_id = absl::StrCat("r", ++requests_), .spec = std::move(spec), .initial = initial},
        [&](absl::StatusOr<JobId> job) { result = std::move(job); });
    fixture_.Run();
    return result;
  }
  // With its program.
  absl::StatusOr<JobId> PutAndSubmit(const std::string& program) {
    fixture_.Put(program);
    return Submit(Spec(program));
  }
  // The bytes as a client would be given them.
  absl::StatusOr<std::string> Open(const JobId& job) {
    absl::StatusOr<std::string> result = absl::DeadlineExceededError("no answer");
    fixture_.host().OpenProgram(
        ClientId("a"), job, [&](absl::StatusOr<std::shared_ptr<const File>> file) {
          if (!file.ok()) return void(result = file.status());
          std::string bytes(*(*file)->Size(), '\0');
          EXPECT_THAT((*file)->ReadAt(0, bytes.data(), bytes.size()), IsOk());
          result = bytes;
        });
    fixture_.Run();
    return result;
  }
  std::string PathOf(const std::string& program) const {
    const std::string hex = ProgramSpecOf(program).sha256;
    return absl::StrCat(fixture_.data_dir(), "/files/", hex.substr(0, 2), "/", hex);
  }

  LiveFixture fixture_;
  int requests_ = 0;
};

TEST_F(LiveFilesTest, ProgramsSurviveACrashAndAreHandedOut) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobId job, PutAndSubmit("code"));
  EXPECT_THAT(Open(job), StatusIs(Code::kFailedPrecondition, HasSubstr("has not enrolled")));
  ASSERT_THAT(FakeClient(&fixture_, "a").Enroll(), IsOk());
  EXPECT_THAT(Open(job), IsOkAndHolds("code"));
  fixture_.Crash();
  fixture_.Start();
  EXPECT_THAT(Open(job), IsOkAndHolds("code"));
  EXPECT_THAT(Open(JobId("none")), StatusIs(Code::kNotFound));
  EXPECT_THAT(Open(fixture_.Submit("plain", 1, 1, {})), StatusIs(Code::kNotFound));
}

TEST_F(LiveFilesTest, ComeWithTheirJobsAndOnlyWithThese) {
  EXPECT_THAT(Submit(Spec("code")),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("job.model.program: its file was not put before the job")));
  JobSpec initial = Spec("code");
  initial.model = {.custom = "fake", .initial = "first.safetensors"};
  EXPECT_THAT(Submit(initial),
              StatusIs(Code::kInvalidArgument, HasSubstr("'first.safetensors' did not come")));
  EXPECT_THAT(Submit(initial, FileDigest{Sha256::Of("other"), 5}),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("job.model.initial: its file was not put before the job")));
  EXPECT_THAT(
      Submit(initial, fixture_.Put("no model")),
      StatusIs(Code::kInvalidArgument, HasSubstr("job.model.initial: 'first.safetensors'")));
  JobSpec none = initial;
  none.model.initial.reset();
  EXPECT_THAT(Submit(none, fixture_.Put("code")),
              StatusIs(Code::kInvalidArgument, HasSubstr("names none in job.model.initial")));
  JobSpec path = Spec("code");
  path.model = {.torchscript = "/home/operator/model.pt"};
  EXPECT_THAT(Submit(path),
              StatusIs(Code::kInvalidArgument, HasSubstr("job.model.torchscript: found in a")));
}

TEST_F(LiveFilesTest, OnlyProgramsOfJobsAreKept) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobId one, PutAndSubmit("code"));
  TRIB_ASSERT_OK_AND_ASSIGN(const JobId two, PutAndSubmit("code"));
  fixture_.store().full = true;  // the job is refused after its program was written
  EXPECT_FALSE(PutAndSubmit("orphan").ok());
  fixture_.store().full = false;
  EXPECT_TRUE(std::filesystem::exists(PathOf("code")));
  fixture_.Crash();
  fixture_.Start();
  EXPECT_TRUE(std::filesystem::exists(PathOf("code")));
  EXPECT_FALSE(std::filesystem::exists(PathOf("orphan")));
}

TEST_F(LiveFilesTest, AFirstModelWithoutAJobGoes) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobId job, PutAndSubmit("code"));
  const std::string initial = fixture_.data_dir() + "/initial/";
  const std::string kept = absl::StrCat(initial, job.value(), ".safetensors");
  fixture_.Crash();
  for (const std::string& path : {kept, initial + "demo-9.safetensors"}) {
    ASSERT_THAT(WriteFileAtomically(path, "model"), IsOk());
  }
  fixture_.Start();
  EXPECT_TRUE(std::filesystem::exists(kept));
  EXPECT_FALSE(std::filesystem::exists(initial + "demo-9.safetensors"));
}

TEST_F(LiveFilesTest, AJobThatLostItsProgramFailsAndSaysSo) {
  TRIB_ASSERT_OK_AND_ASSIGN(const JobId job, PutAndSubmit("code"));
  fixture_.Crash();
  ASSERT_THAT(WriteFileAtomically(PathOf("code"), "cod"), IsOk());
  fixture_.Start();
  const JobView view = fixture_.Job(job);
  EXPECT_EQ(view.progress.state, JobState::kFailed);
  EXPECT_THAT(view.progress.reason, AllOf(HasSubstr(PathOf("code")), HasSubstr("has 3 bytes")));
}

}  // namespace
}  // namespace tributary::test
