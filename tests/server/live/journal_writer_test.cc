#include "server/live/journal_writer.h"

#include "server/store/memory_store.h"
#include "tests/server/live/live_fixture.h"

namespace tributary::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A store whose journal can be out of order.
class FlakyStore final : public MemoryStore {
 public:
  absl::Status AppendJournal(const JobId& job, const std::vector<std::string>& lines) override {
    ++writes;
    if (broken) return absl::UnavailableError("disk full");
    return MemoryStore::AppendJournal(job, lines);
  }
  bool broken = false;
  int writes = 0;
};

class JournalWriterTest : public ::testing::Test {
 protected:
  JournalWriterTest() { EXPECT_THAT(store_.PutJob({.id = job_}), IsOk()); }
  std::vector<std::string> Lines() { return *store_.ReadJournal(job_); }

  SimulatedClock clock_;
  FlakyStore store_;
  EventLoop loop_{&clock_};
  LoopExecutor disk_{&loop_};
  JournalWriter journal_{&loop_, &disk_, &clock_, &store_};
  const JobId job_{"job-1"};
};

TEST_F(JournalWriterTest, EffectsWaitForTheLinesBeforeThem) {
  std::vector<std::string> seen;
  journal_.Append(job_, "one");
  journal_.AfterCommit([&] { seen = Lines(); });
  EXPECT_THAT(seen, IsEmpty());
  loop_.RunReady();
  EXPECT_THAT(seen, ElementsAre("one"));
  EXPECT_TRUE(journal_.idle());
}

TEST_F(JournalWriterTest, ATurnsLinesAreOneWrite) {
  for (int i = 0; i < 10; ++i) journal_.Append(job_, "line");
  loop_.RunReady();
  EXPECT_EQ(Lines().size(), 10u);
  EXPECT_EQ(store_.writes, 1);
}

TEST_F(JournalWriterTest, EffectsKeepTheirOrder) {
  std::vector<int> ran;
  journal_.Append(job_, "one");
  journal_.AfterCommit([&] {
    ran.push_back(1);
    journal_.AfterCommit([&] { ran.push_back(3); });
  });
  journal_.AfterCommit([&] { ran.push_back(2); });
  loop_.RunReady();
  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
}

TEST_F(JournalWriterTest, NothingTakesEffectWhileTheDiskIsFull) {
  store_.broken = true;
  bool ran = false;
  journal_.Append(job_, "one");
  journal_.AfterCommit([&] { ran = true; });
  loop_.RunReady();
  EXPECT_FALSE(ran);
  EXPECT_THAT(journal_.status(), StatusIs(absl::StatusCode::kUnavailable));
  store_.broken = false;
  clock_.AdvanceBy(absl::Seconds(2));
  loop_.RunReady();
  EXPECT_TRUE(ran);
  EXPECT_THAT(Lines(), ElementsAre("one"));
  EXPECT_THAT(journal_.status(), IsOk());
}

}  // namespace
}  // namespace tributary::test
