#include "client_sdk/internal/downloader.h"

#include <memory>
#include <utility>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/fake_server.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary::sdk {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::FlatLayout;
using ::tributary::test::IsOk;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;

constexpr int64_t kValues = 25;  // 100 bytes: 7 chunks of 16

class DownloaderTest : public ::testing::Test {
 protected:
  DownloaderTest() { server_.models[3] = RandomParams(FlatLayout(20, 5), 1); }

  absl::StatusOr<std::shared_ptr<const ParamVector>> Fetch(Version version = 3) {
    Retry retry(retry_options_, &clock_, Rng(1), stop_.get_token());
    return Download(server_, JobId("job-1"), version, max_bytes_,
                    {.stop = stop_.get_token(), .progress = progress_}, cache_, retry);
  }

  SimulatedClock clock_;
  FakeServer server_;
  ModelCache cache_{2, ""};
  RetryOptions retry_options_;
  int64_t max_bytes_ = 1 << 20;
  std::stop_source stop_;
  std::function<void(int64_t, int64_t)> progress_;
};

TEST_F(DownloaderTest, BringsTheValuesAndTheLayout) {
  int64_t last = 0;
  progress_ = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, kValues * 4);
    EXPECT_GT(done, last);
    last = done;
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch());
  EXPECT_THAT(*model, ParamsNear(server_.models[3], 0));
  EXPECT_EQ(model->layout()->digest(), server_.models[3].layout()->digest());
  EXPECT_EQ(last, kValues * 4);
  EXPECT_EQ(server_.fetch_calls, 1);
}

class DownloaderCutTest : public DownloaderTest, public ::testing::WithParamInterface<int> {};

TEST_P(DownloaderCutTest, ABreakAtAnyChunkResumesThere) {
  server_.fetch_fault = [](int64_t call, int64_t chunk) {
    return call == 0 && chunk == GetParam() ? absl::UnavailableError("broken") : absl::OkStatus();
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch());
  EXPECT_THAT(*model, ParamsNear(server_.models[3], 0));
  EXPECT_EQ(server_.fetched_bytes, kValues * 4) << "no byte twice";
  EXPECT_EQ(server_.fetch_calls, 2);
}

TEST_P(DownloaderCutTest, ADamagedChunkIsFetchedAgainFromItsStart) {
  int64_t seen = 0;
  server_.damage_fetch = [&](std::string& chunk) {
    if (seen++ == GetParam()) chunk.back() ^= 1;
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch());
  EXPECT_THAT(*model, ParamsNear(server_.models[3], 0));
  EXPECT_LE(server_.fetched_bytes, kValues * 4 + 16);
}

INSTANTIATE_TEST_SUITE_P(EveryChunk, DownloaderCutTest, ::testing::Range(0, 7));

TEST_F(DownloaderTest, ArrivesThoughEveryCallBreaksAfterOneChunk) {
  retry_options_.give_up_after = absl::Seconds(1);  // progress renews it
  server_.fetch_fault = [](int64_t, int64_t chunk) {
    return chunk == 1 ? absl::UnavailableError("broken") : absl::OkStatus();
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch());
  EXPECT_THAT(*model, ParamsNear(server_.models[3], 0));
  EXPECT_EQ(server_.fetch_calls, 7);
}

TEST_F(DownloaderTest, AHeldModelIsNotSentAgain) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto first, Fetch());
  const int64_t bytes = server_.fetched_bytes;
  TRIB_ASSERT_OK_AND_ASSIGN(const auto again, Fetch());
  EXPECT_EQ(first, again);
  EXPECT_EQ(server_.fetched_bytes, bytes);
}

TEST_F(DownloaderTest, AnEqualModelUnderAnotherVersionIsNotSentAgain) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto first, Fetch());
  server_.models[4] = server_.models[3].Clone();
  TRIB_ASSERT_OK_AND_ASSIGN(const auto again, Fetch(4));
  EXPECT_EQ(first, again);
  ASSERT_NE(cache_.Find(JobId("job-1"), 4), nullptr);
  EXPECT_EQ(cache_.Find(JobId("job-1"), 4)->version, 4);
}

TEST_F(DownloaderTest, AModelThatTheServerReplacedIsFetchedAnew) {
  ASSERT_THAT(Fetch(), IsOk());
  server_.models[3] = RandomParams(FlatLayout(20, 5), 2);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch());
  EXPECT_THAT(*model, ParamsNear(server_.models[3], 0));
}

TEST_F(DownloaderTest, AModelThatChangesBetweenTwoPartsStartsOver) {
  server_.fetch_fault = [&](int64_t call, int64_t chunk) {
    if (call != 0 || chunk != 3) return absl::OkStatus();
    server_.models[3] = RandomParams(FlatLayout(20, 5), 2);
    return absl::UnavailableError("restarted");
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch());
  EXPECT_THAT(*model, ParamsNear(RandomParams(FlatLayout(20, 5), 2), 0));
}

TEST_F(DownloaderTest, UnchangedWithoutAHeldModelIsAnError) {
  server_.edit_header = [](ModelHeader&, bool& unchanged) { unchanged = true; };
  EXPECT_THAT(Fetch(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("unchanged")));
}

TEST_F(DownloaderTest, UnchangedOfAnotherLayoutIsAnError) {
  ASSERT_THAT(Fetch(), IsOk());
  server_.edit_header = [](ModelHeader& header, bool&) { header.layout = FlatLayout(25); };
  EXPECT_THAT(Fetch(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("unchanged")));
}

TEST_F(DownloaderTest, AWrongDigestIsTriedThreeTimes) {
  server_.edit_header = [](ModelHeader& header, bool&) { header.model_digest.bytes[0] ^= 1; };
  EXPECT_THAT(Fetch(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("digest")));
  EXPECT_EQ(server_.fetch_calls, 3);
  EXPECT_EQ(cache_.Find(JobId("job-1"), 3), nullptr);
}

TEST_F(DownloaderTest, HeadersThatMakeNoSenseAreRefused) {
  const std::vector<std::pair<std::function<void(ModelHeader&)>, std::string>> cases = {
      {[](ModelHeader& h) { h.job = JobId("other"); }, "of other"},
      {[](ModelHeader& h) { h.version = 4; }, "was sent 4"},
      {[](ModelHeader& h) { h.total_bytes += 4; }, "its layout says 100"},
      {[](ModelHeader& h) { h.total_bytes = -1; }, "its layout says 100"},
  };
  for (const auto& [edit, message] : cases) {
    server_.edit_header = [&, edit = edit](ModelHeader& header, bool&) { edit(header); };
    EXPECT_THAT(Fetch(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(message)));
  }
}

TEST_F(DownloaderTest, AModelAboveTheLimitIsRefusedBeforeItIsAllocated) {
  max_bytes_ = 99;
  EXPECT_THAT(Fetch(), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("max_model_bytes")));
  EXPECT_EQ(server_.fetched_bytes, 0);
}

TEST_F(DownloaderTest, AVersionThatIsGoneIsNotRetried) {
  EXPECT_THAT(Fetch(9), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(server_.fetch_calls, 1);
}

TEST_F(DownloaderTest, AStopEndsItBetweenTwoChunks) {
  progress_ = [&](int64_t done, int64_t) {
    if (done == 48) stop_.request_stop();
  };
  EXPECT_THAT(Fetch(), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(server_.fetched_bytes, 48);
}

}  // namespace
}  // namespace tributary::sdk
