#include "client_sdk/internal/downloader.h"

#include <limits>
#include <memory>
#include <utility>
#include <vector>

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
    return FetchInto(cache_, version);
  }
  absl::StatusOr<std::shared_ptr<const ParamVector>> FetchInto(ModelCache& cache, Version version) {
    Retry retry(retry_options_, &clock_, Rng(1), stop_.get_token());
    return Download(server_, JobId("job-1"), version, max_bytes_,
                    {.stop = stop_.get_token(), .progress = progress_}, cache, retry, delta_.get());
  }

  SimulatedClock clock_;
  FakeServer server_;
  ModelCache cache_{2, ""};
  RetryOptions retry_options_;
  int64_t max_bytes_ = 1 << 20;
  std::stop_source stop_;
  std::function<void(int64_t, int64_t)> progress_;
  std::unique_ptr<const ModelDifference> delta_;
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

// The client holds version 3; the server has versions up to 6 and exact deltas to them.
class DownloaderDeltaTest : public DownloaderTest, public ::testing::WithParamInterface<int> {
 protected:
  DownloaderDeltaTest() {
    delta_ = ModelDifference::Create({}).value();
    for (Version version = 4; version <= 6; ++version) {
      ParamVector next = server_.models[version - 1].Clone();
      next.values()[static_cast<size_t>(version)] += 0.5F;
      server_.deltas[version] = delta_->Encode(version, server_.models[version - 1], next);
      server_.models[version] = std::move(next);
    }
    EXPECT_THAT(Fetch(3), IsOk());
    server_.fetched_bytes = server_.fetch_calls = 0;
  }
  int64_t ChainBytes(Version from, Version to) const {
    int64_t bytes = 0;
    for (Version version = from + 1; version <= to; ++version) {
      bytes += static_cast<int64_t>(server_.deltas.at(version).size());
    }
    return bytes;
  }
  void ExpectFetched(Version version, int64_t bytes) {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch(version));
    EXPECT_EQ(model->ComputeDigest(), server_.models[version].ComputeDigest());
    EXPECT_EQ(server_.fetched_bytes, bytes);
    const HeldModel* const held = cache_.Find(JobId("job-1"), version);
    ASSERT_NE(held, nullptr);
    EXPECT_EQ(held->version, version);
  }
};

TEST_F(DownloaderDeltaTest, ThoseFromTheHeldVersionMakeTheModel) {
  ExpectFetched(4, ChainBytes(3, 4));
  EXPECT_LT(server_.fetched_bytes, kValues * 4);
}

TEST_F(DownloaderDeltaTest, AChainMakesTheModel) { ExpectFetched(6, ChainBytes(3, 6)); }

TEST_P(DownloaderDeltaTest, ABreakAtAnyChunkResumesThere) {
  server_.fetch_fault = [](int64_t call, int64_t chunk) {
    return call == 0 && chunk == GetParam() ? absl::UnavailableError("broken") : absl::OkStatus();
  };
  ExpectFetched(6, ChainBytes(3, 6));
  EXPECT_EQ(server_.fetch_calls, 2);
}
INSTANTIATE_TEST_SUITE_P(EveryChunk, DownloaderDeltaTest, ::testing::Range(0, 5));

TEST_F(DownloaderDeltaTest, AClientThatTakesNoneIsSentTheValues) {
  delta_ = nullptr;
  ExpectFetched(4, kValues * 4);
  EXPECT_EQ(server_.fetches.back().have_version, std::nullopt);
}

TEST_F(DownloaderDeltaTest, ALostCacheIsANewcomers) {
  ModelCache empty(2, "");
  EXPECT_THAT(FetchInto(empty, 6), IsOk());
  EXPECT_EQ(server_.fetched_bytes, kValues * 4);
  EXPECT_EQ(server_.fetches.back().have_version, std::nullopt);
}

TEST_F(DownloaderDeltaTest, ThoseThatMakeAnotherModelAreDoneWithout) {
  ParamVector wrong = server_.models[4].Clone();
  wrong.values()[0] += 1;
  server_.deltas[4] = delta_->Encode(4, server_.models[3], wrong);
  ExpectFetched(4, ChainBytes(3, 4) + kValues * 4);
  EXPECT_EQ(server_.fetches.back().have_version, std::nullopt);
  EXPECT_EQ(server_.fetches.back().offset, 0);
  EXPECT_EQ(clock_.Now(), SimulatedClock().Now()) << "at once";
}

TEST_F(DownloaderDeltaTest, ThoseThatAreNoneAreDoneWithout) {
  server_.deltas[5] = "nonsense";
  ExpectFetched(6, ChainBytes(3, 6) + kValues * 4);
}

TEST_F(DownloaderDeltaTest, AServerThatForgetsThemBetweenTwoPartsStartsOver) {
  server_.fetch_fault = [&](int64_t call, int64_t chunk) {
    if (call != 0 || chunk != 1) return absl::OkStatus();
    server_.deltas.clear();
    return absl::UnavailableError("restarted");
  };
  TRIB_ASSERT_OK_AND_ASSIGN(const auto model, Fetch(6));
  EXPECT_EQ(model->ComputeDigest(), server_.models[6].ComputeDigest());
}

TEST_F(DownloaderDeltaTest, HeadersThatMakeNoSenseAreRefused) {
  const std::vector<std::function<void(ModelHeader&)>> cases = {
      [](ModelHeader& h) { h.deltas.erase(h.deltas.begin()); },
      [](ModelHeader& h) { h.deltas.pop_back(); },
      [](ModelHeader& h) { std::swap(h.deltas[0], h.deltas[1]); },
      [](ModelHeader& h) { h.total_bytes -= 1; },
      [](ModelHeader& h) { h.total_bytes += 1; },
      [](ModelHeader& h) { h.deltas[0].bytes = 0; },
      [](ModelHeader& h) { h.deltas[0].bytes = std::numeric_limits<int64_t>::max(); },
      [](ModelHeader& h) { h.deltas[1].bytes += h.deltas[2].bytes + 1, h.deltas[2].bytes = -1; },
      [](ModelHeader& h) { h.deltas[0].bytes += 1000, h.total_bytes += 1000; },
      [](ModelHeader& h) { h.layout = FlatLayout(25); },
  };
  for (const auto& edit : cases) {
    server_.edit_header = [&](ModelHeader& header, bool&) { edit(header); };
    EXPECT_THAT(Fetch(6), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("deltas")));
  }
  EXPECT_EQ(server_.fetched_bytes, 0) << "before anything is allocated";
}

TEST_F(DownloaderDeltaTest, ThoseThatWereNotAskedForAreRefused) {
  delta_ = nullptr;
  server_.edit_header = [](ModelHeader& header, bool&) {
    header.deltas = {{.version = 4, .bytes = header.total_bytes}};
  };
  EXPECT_THAT(Fetch(4), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not asked for")));
}

}  // namespace
}  // namespace tributary::sdk
