#include "client_sdk/app/progress_view.h"

#include <sstream>
#include <string>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace tributary {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = ClientEvent::Kind;

ClientEvent Event(Kind kind, int64_t done = 0, int64_t total = 0) {
  ClientEvent event{.kind = kind, .job = JobId("job-1"), .job_name = "fashion", .work = "train"};
  event.version = 12;
  event.done = done;
  event.total = total;
  return event;
}

TEST(ProgressLineTest, SaysWhatAndHowFar) {
  EXPECT_EQ(ProgressLine(Event(Kind::kTraining, 25, 50)),
            "train fashion v12  [##########----------]  training 25/50 steps");
  EXPECT_EQ(ProgressLine(Event(Kind::kTraining, 25, 0)), "train fashion v12  training 25 steps");
  EXPECT_EQ(ProgressLine(Event(Kind::kDownloading, 7, 7)),
            "train fashion v12  [####################]  downloading 7/7 bytes");
  EXPECT_THAT(ProgressLine(Event(Kind::kUploading, 0, 7)), HasSubstr("[--------------------]"));
  EXPECT_THAT(ProgressLine(Event(Kind::kTraining, 60, 50)), HasSubstr("[####################]"));
  EXPECT_EQ(ProgressLine(Event(Kind::kEvaluating)), "train fashion v12  evaluating");
  EXPECT_EQ(ProgressLine(Event(Kind::kWaiting)), "waiting for work");
}

TEST(ProgressViewTest, ALiveLineIsRenewedTenTimesASecondAndClearedAtTheEnd) {
  SimulatedClock clock;
  std::ostringstream out;
  {
    ProgressView view(&out, /*live=*/true, &clock);
    view.Show(Event(Kind::kTraining, 1, 50));
    view.Show(Event(Kind::kTraining, 2, 50));
    EXPECT_THAT(out.str(), HasSubstr(" 1/50"));
    EXPECT_THAT(out.str(), Not(HasSubstr(" 2/50"))) << "too soon";
    clock.AdvanceBy(absl::Milliseconds(100));
    view.Show(Event(Kind::kTraining, 3, 50));
    EXPECT_THAT(out.str(), HasSubstr(" 3/50"));
    view.Show(Event(Kind::kTraining, 50, 50));
    EXPECT_THAT(out.str(), EndsWith(" 50/50 steps")) << "the last one always shows";
  }
  EXPECT_THAT(out.str(), EndsWith("\r\033[K"));
}

TEST(ProgressViewTest, WithoutATerminalNothingIsDrawn) {
  SimulatedClock clock;
  std::ostringstream out;
  {
    ProgressView view(&out, /*live=*/false, &clock);
    view.Show(Event(Kind::kTraining, 1, 50));
    view.Show(Event(Kind::kAccepted));
  }
  EXPECT_EQ(out.str(), "");
}

TEST(ProgressViewTest, EventsAreLoggedAndResultsCounted) {
  SimulatedClock clock;
  std::ostringstream out;
  ProgressView view(&out, /*live=*/false, &clock);
  ::testing::internal::CaptureStderr();
  view.Show(Event(Kind::kAccepted));
  ClientEvent evaluated = Event(Kind::kAccepted);
  evaluated.work = "evaluate";
  view.Show(evaluated);
  view.Show(evaluated);
  ClientEvent failed = Event(Kind::kFailed);
  failed.message = "out of memory";
  view.Show(failed);
  const std::string log = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(view.updates(), 1);
  EXPECT_EQ(view.evaluations(), 2);
  EXPECT_THAT(log, HasSubstr("accepted job=job-1 work=train"));
  EXPECT_THAT(log, HasSubstr("out of memory"));
}

}  // namespace
}  // namespace tributary
