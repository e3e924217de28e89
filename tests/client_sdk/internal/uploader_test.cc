#include "client_sdk/internal/uploader.h"

#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/fake_server.h"
#include "tests/testing/status_matchers.h"

namespace tributary::sdk {
namespace {

using ::testing::HasSubstr;
using ::testing::Values;
using ::tributary::test::IsOk;
using ::tributary::test::StatusIs;

std::string RandomBytes(Rng& rng, int64_t size) {
  std::string bytes;
  for (int64_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(rng.Next()));
  return bytes;
}

class UploaderTest : public ::testing::Test {
 protected:
  absl::StatusOr<UploadAnswer> Send(const std::string& payload) { return Send(payload, server_); }
  absl::StatusOr<UploadAnswer> Send(const std::string& payload, FakeServer& server) {
    Retry retry(retry_options_, &clock_, Rng(1), stop_.get_token());
    UpdateHeader header{.job = JobId("job-1")};
    header.info.work_order = 7;
    return Upload(server, header, payload,
                  {.max_chunk_bytes = server.limits.max_chunk_bytes,
                   .stop = stop_.get_token(),
                   .progress = progress_},
                  retry);
  }
  const std::string& Received() { return server_.uploads[7].payload; }

  SimulatedClock clock_;
  FakeServer server_;
  RetryOptions retry_options_;
  std::stop_source stop_;
  std::function<void(int64_t, int64_t)> progress_;
};

TEST(ChunksFromTest, PiecesCoverThePayloadWithTheirChecksums) {
  const std::string payload = "0123456789";
  const ChunkSource chunks = ChunksFrom(payload, 3, 4);
  std::optional<Chunk> chunk = chunks();
  ASSERT_TRUE(chunk);
  EXPECT_EQ(std::tuple(chunk->offset, chunk->data, chunk->xxh3),
            std::tuple(3, "3456", Xxh3("3456")));
  chunk = chunks();
  ASSERT_TRUE(chunk);
  EXPECT_EQ(std::tuple(chunk->offset, chunk->data, chunk->xxh3), std::tuple(7, "789", Xxh3("789")));
  EXPECT_FALSE(chunks());
  EXPECT_FALSE(chunks());
}

TEST_F(UploaderTest, ArrivesInOneCallWhenNothingBreaks) {
  Rng rng(1);
  for (const int64_t size : {0, 1, 15, 16, 17, 160}) {
    server_.uploads.clear();
    server_.upload_calls = 0;
    const std::string payload = RandomBytes(rng, size);
    const auto answer = Send(payload);
    ASSERT_THAT(answer, IsOk());
    EXPECT_EQ(answer->state, UploadAnswer::State::kAccepted);
    EXPECT_EQ(Received(), payload);
    EXPECT_EQ(server_.uploads[7].header.total_bytes, size);
    EXPECT_EQ(server_.upload_calls, 1);
  }
  EXPECT_EQ(clock_.Now(), absl::UnixEpoch());
}

TEST_F(UploaderTest, ResumingAsksBeforeItSends) {
  Rng rng(2);
  const std::string payload = RandomBytes(rng, 100);
  for (const size_t there : {0, 16, 33, 99, 100}) {
    server_.uploads.clear();
    server_.uploads[7].payload = payload.substr(0, there);
    server_.sent_bytes = 0;
    Retry retry(retry_options_, &clock_, Rng(1), {});
    UpdateHeader header{.job = JobId("job-1")};
    header.info.work_order = 7;
    const auto answer = Upload(server_, header, payload,
                               {.max_chunk_bytes = 16, .resume = true, .stop = {}}, retry);
    ASSERT_THAT(answer, IsOk());
    EXPECT_EQ(answer->state, UploadAnswer::State::kAccepted);
    EXPECT_EQ(Received(), payload);
    EXPECT_EQ(server_.sent_bytes, static_cast<int64_t>(100 - there));
  }
}

TEST_F(UploaderTest, ProgressGrowsToTheTotal) {
  std::vector<int64_t> seen;
  progress_ = [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 40);
    seen.push_back(done);
  };
  ASSERT_THAT(Send(std::string(40, 'x')), IsOk());
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 16, 32, 40}));
}

class UploaderCutTest : public UploaderTest,
                        public ::testing::WithParamInterface<std::tuple<ChunkFate, int>> {};

TEST_P(UploaderCutTest, ABreakAtAnyChunkCostsAtMostThatChunk) {
  const auto [fate, cut] = GetParam();
  Rng rng(2);
  const std::string payload = RandomBytes(rng, 100);  // 7 chunks
  server_.upload_fault = [fate = fate, cut = cut](int64_t call, int64_t chunk) {
    return call == 0 && chunk == cut ? fate : ChunkFate::kStored;
  };
  const auto answer = Send(payload);
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->state, UploadAnswer::State::kAccepted);
  EXPECT_EQ(Received(), payload);
  const int64_t lost = fate == ChunkFate::kRolledBack ? 2 : 1;
  EXPECT_LE(server_.sent_bytes, 100 + lost * 16);
}

INSTANTIATE_TEST_SUITE_P(EveryChunk, UploaderCutTest,
                         ::testing::Combine(Values(ChunkFate::kLost, ChunkFate::kStoredThenLost,
                                                   ChunkFate::kRolledBack),
                                            ::testing::Range(0, 7)));

TEST_F(UploaderTest, ArrivesIntactWhateverBreaks) {
  Rng rng(3);
  for (int run = 0; run < 300; ++run) {
    FakeServer server;
    server.limits.max_chunk_bytes = 1 + rng.UniformInt(40);
    const std::string payload = RandomBytes(rng, rng.UniformInt(400));
    int64_t resent_at_most = 0;
    const double rate = rng.Uniform(0, 0.5);
    server.upload_fault = [&](int64_t, int64_t) {
      if (!rng.Bernoulli(rate)) return ChunkFate::kStored;
      const auto fate = static_cast<ChunkFate>(1 + rng.UniformInt(3));
      resent_at_most += server.limits.max_chunk_bytes;
      if (fate == ChunkFate::kRolledBack) resent_at_most += server.limits.max_chunk_bytes;
      return fate;
    };
    const auto answer = Send(payload, server);
    ASSERT_THAT(answer, IsOk());
    ASSERT_EQ(answer->state, UploadAnswer::State::kAccepted) << answer->refusal;
    ASSERT_EQ(server.uploads[7].payload, payload);
    ASSERT_LE(server.sent_bytes, static_cast<int64_t>(payload.size()) + resent_at_most);
  }
}

TEST_F(UploaderTest, AServerThatLostBytesAfterItWasAskedIsAskedAgain) {
  server_.upload_fault = [&](int64_t call, int64_t chunk) {
    return call == 0 && chunk == 3 ? ChunkFate::kLost : ChunkFate::kStored;
  };
  progress_ = [&](int64_t done, int64_t) {
    if (done == 48 && server_.upload_calls == 3) server_.uploads[7].payload.resize(10);
  };
  const std::string payload(100, 'x');
  const auto answer = Send(payload);
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->state, UploadAnswer::State::kAccepted);
  EXPECT_EQ(Received(), payload);
  EXPECT_EQ(server_.upload_calls, 5);
}

TEST_F(UploaderTest, ALostAnswerIsAskedForAgainAndNothingIsSentTwice) {
  server_.upload_answer_fault = [](int64_t call) {
    return call == 0 ? absl::UnavailableError("answer lost") : absl::OkStatus();
  };
  const auto answer = Send(std::string(64, 'x'));
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->state, UploadAnswer::State::kAccepted);
  EXPECT_EQ(server_.upload_calls, 2);
  EXPECT_EQ(server_.sent_bytes, 64);
}

TEST_F(UploaderTest, ARefusalIsReturnedAndNotRepeated) {
  server_.upload_verdict = UploadAnswer{.state = UploadAnswer::State::kRefused,
                                        .refusal = "not_finite",
                                        .message = "NaN in fc1.weight"};
  const auto answer = Send("payload");
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->state, UploadAnswer::State::kRefused);
  EXPECT_EQ(answer->refusal, "not_finite");
  EXPECT_EQ(server_.upload_calls, 1);
}

// While there is no room, nothing but the header is sent again, at moments within the window.
TEST_F(UploaderTest, WaitsAsLongAsTheServerHasNoRoom) {
  const std::string payload(40, 'x');
  std::vector<absl::Time> asked;
  server_.put_off = [&](int64_t call) -> std::optional<RetryWindow> {
    asked.push_back(clock_.Now());
    if (call >= 20) return std::nullopt;
    return RetryWindow{absl::Seconds(10), absl::Seconds(14)};
  };
  const auto answer = Send(payload);
  ASSERT_THAT(answer, IsOk());
  EXPECT_EQ(answer->state, UploadAnswer::State::kAccepted);
  EXPECT_EQ(Received(), payload);
  ASSERT_GE(asked.size(), 21u);
  std::set<absl::Duration> waits;
  for (size_t i = 1; i <= 20; ++i) {
    waits.insert(asked[i] - asked[i - 1]);
    EXPECT_GE(asked[i] - asked[i - 1], absl::Seconds(10));
    EXPECT_LE(asked[i] - asked[i - 1], absl::Seconds(14));
  }
  EXPECT_EQ(waits.size(), 20u) << "clients must not come back together";
  EXPECT_EQ(server_.sent_bytes, 40);
}

TEST_F(UploaderTest, AServerThatNeverHasRoomIsGivenUp) {
  retry_options_.give_up_after = absl::Minutes(1);
  server_.put_off = [](int64_t) { return RetryWindow{absl::Seconds(5), absl::Seconds(5)}; };
  EXPECT_THAT(Send("x"), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("no room")));
  EXPECT_EQ(clock_.Now() - absl::UnixEpoch(), absl::Minutes(1));
}

TEST_F(UploaderTest, AStopEndsTheWaitForRoom) {
  server_.put_off = [this](int64_t) {
    stop_.request_stop();
    return RetryWindow{absl::Hours(1), absl::Hours(1)};
  };
  EXPECT_THAT(Send("x"), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(UploaderTest, ImpossibleCountsAreErrors) {
  for (const int64_t claimed : {int64_t{-1}, int64_t{11}}) {
    server_.upload_verdict =
        UploadAnswer{.state = UploadAnswer::State::kPartial, .durable_bytes = claimed};
    EXPECT_THAT(Send("0123456789"), StatusIs(absl::StatusCode::kInternal, HasSubstr("of 10")));
  }
}

TEST_F(UploaderTest, AServerThatNeverGetsAnyFurtherIsGivenUp) {
  retry_options_.give_up_after = absl::Minutes(1);
  server_.upload_verdict = UploadAnswer{.state = UploadAnswer::State::kPartial, .durable_bytes = 4};
  server_.limits.max_chunk_bytes = 2;
  EXPECT_THAT(Send("0123456789"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_LT(server_.upload_calls, 100);
}

TEST_F(UploaderTest, PermanentErrorsEndItAtOnce) {
  server_.upload_answer_fault = [](int64_t) { return absl::PermissionDeniedError("no"); };
  EXPECT_THAT(Send("payload"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_EQ(server_.upload_calls, 1);
}

TEST_F(UploaderTest, AStopEndsItBetweenTwoChunks) {
  progress_ = [&](int64_t done, int64_t) {
    if (done == 16) stop_.request_stop();
  };
  EXPECT_THAT(Send(std::string(64, 'x')), StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(Received().size(), 16);
  EXPECT_EQ(server_.upload_calls, 1);
}

}  // namespace
}  // namespace tributary::sdk
