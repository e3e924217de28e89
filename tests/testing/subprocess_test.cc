#include "tests/testing/subprocess.h"

#include <csignal>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(30);

std::unique_ptr<Subprocess> Shell(const std::string& script) {
  auto process = Subprocess::Start({"/bin/sh", "-c", script});
  EXPECT_THAT(process, IsOk());
  return *std::move(process);
}

TEST(SubprocessTest, CatchesOutputAndExitCode) {
  const Completed done = RunToEnd({"/bin/sh", "-c", "echo to out; echo to err >&2; exit 7"});
  EXPECT_EQ(done.exit, Exit{.code = 7});
  EXPECT_EQ(done.out, "to out\n");
  EXPECT_EQ(done.err, "to err\n");
}

TEST(SubprocessTest, AddsToTheEnvironmentAndReplacesInIt) {
  ASSERT_EQ(setenv("SUBPROCESS_TEST_OLD", "old", 1), 0);
  ASSERT_EQ(setenv("SUBPROCESS_TEST_KEPT", "kept=", 1), 0);
  const Completed done = RunToEnd(
      {"/bin/sh", "-c", "echo $SUBPROCESS_TEST_OLD $SUBPROCESS_TEST_NEW $SUBPROCESS_TEST_KEPT"},
      {{"SUBPROCESS_TEST_OLD", "replaced"}, {"SUBPROCESS_TEST_NEW", "new"}});
  EXPECT_EQ(done.out, "replaced new kept=\n");
}

TEST(SubprocessTest, TellsASignalFromACode) {
  const auto process = Shell("echo ready; exec sleep 1000");
  ASSERT_THAT(process->WaitForLine("ready", kLong), IsOk());
  EXPECT_THAT(process->Wait(absl::Milliseconds(1)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("ready")));
  process->Signal(SIGTERM);
  EXPECT_THAT(process->Wait(kLong), IsOkAndHolds(Exit{.signal = SIGTERM}));
  EXPECT_THAT(process->Wait(kLong), IsOkAndHolds(Exit{.signal = SIGTERM}));
}

TEST(SubprocessTest, FindsAWholeLineAndItsGroups) {
  const auto process = Shell("echo first >&2; printf 'port 12'; sleep 0.05; echo 34; sleep 1000");
  EXPECT_THAT(process->WaitForLine("port ([0-9]+)", kLong),
              IsOkAndHolds(ElementsAre("port 1234", "1234")));
  EXPECT_THAT(process->WaitForLine("^fir", kLong), IsOkAndHolds(ElementsAre("fir")));
  EXPECT_THAT(process->WaitForLine("never", absl::Milliseconds(20)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("port 1234")));
}

TEST(SubprocessTest, WaitsForNoLineOfADeadProcess) {
  const auto process = Shell("echo farewell");
  EXPECT_THAT(process->WaitForLine("welcome", kLong),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("farewell")));
  EXPECT_THAT(process->WaitForLine("farewell", kLong), IsOk());
}

TEST(SubprocessTest, KillsItsChild) {
  pid_t pid = -1;
  {
    const auto process = Shell("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    ASSERT_THAT(process->WaitForLine("ready", kLong), IsOk());
    pid = process->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(SubprocessTest, SaysWhatItCannotStart) {
  EXPECT_THAT(Subprocess::Start({"/no/such/program"}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/no/such/program")));
}

}  // namespace
}  // namespace tributary::test
