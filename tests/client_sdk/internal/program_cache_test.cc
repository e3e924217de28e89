#include "client_sdk/internal/program_cache.h"

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/fake_server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::sdk {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::StatusIs;
using ::tributary::test::TempDir;

// 100 bytes: 7 chunks of 16.
std::string Bytes(char first) {
  std::string bytes;
  for (int i = 0; i < 100; ++i) bytes.push_back(static_cast<char>(first + i));
  return bytes;
}

class ProgramCacheTest : public ::testing::Test {
 protected:
  ProgramCacheTest() { server_.program = program_; }

  absl::StatusOr<std::string> Get(ProgramCache& cache, int64_t max_bytes = 1000) {
    Retry retry({.give_up_after = absl::Minutes(1)}, &clock_, Rng(1), stop_.get_token());
    const auto got = cache.Get(server_, JobId("job-1"), ProgramSpecOf(program_), max_bytes,
                               {.stop = stop_.get_token()}, retry);
    if (!got.ok()) return got.status();
    return **got;
  }

  SimulatedClock clock_;
  FakeServer server_;
  std::string program_ = Bytes('a');
  std::stop_source stop_;
};

TEST_F(ProgramCacheTest, FetchesAProgramOnce) {
  ProgramCache cache("");
  EXPECT_THAT(Get(cache), test::IsOkAndHolds(program_));
  EXPECT_THAT(Get(cache), test::IsOkAndHolds(program_));
  EXPECT_EQ(server_.program_calls, 1);
  server_.program = program_ = Bytes('b');
  EXPECT_THAT(Get(cache), test::IsOkAndHolds(program_));
  EXPECT_EQ(server_.program_calls, 2);
}

TEST_F(ProgramCacheTest, KeepsItAcrossRestarts) {
  const TempDir dir;
  const std::string folder = dir.File("programs");
  ProgramCache first(folder);
  EXPECT_THAT(Get(first), test::IsOkAndHolds(program_));
  ProgramCache second(folder);
  EXPECT_THAT(Get(second), test::IsOkAndHolds(program_));
  EXPECT_EQ(server_.program_calls, 1);

  const std::string name = absl::StrCat(ProgramSpecOf(program_).sha256, ".pt");
  ASSERT_TRUE(std::filesystem::exists(folder + "/" + name));
  dir.Write("programs/" + name, Bytes('z'));
  ProgramCache third(folder);
  EXPECT_THAT(Get(third), test::IsOkAndHolds(program_)) << "a damaged file is not used";
  EXPECT_EQ(server_.program_calls, 2);
}

class ProgramCacheCutTest : public ProgramCacheTest, public ::testing::WithParamInterface<int> {};

TEST_P(ProgramCacheCutTest, ABreakAtAnyChunkResumesThere) {
  server_.fetch_fault = [](int64_t call, int64_t chunk) {
    return call == 0 && chunk == GetParam() ? absl::UnavailableError("broken") : absl::OkStatus();
  };
  ProgramCache cache("");
  EXPECT_THAT(Get(cache), test::IsOkAndHolds(program_));
  EXPECT_EQ(server_.program_calls, 2);
  EXPECT_EQ(server_.fetched_bytes, 100) << "no byte twice";
}

TEST_P(ProgramCacheCutTest, ADamagedChunkIsFetchedAgain) {
  int64_t seen = 0;
  server_.damage_fetch = [&](std::string& chunk) {
    if (seen++ == GetParam()) chunk.back() ^= 1;
  };
  ProgramCache cache("");
  EXPECT_THAT(Get(cache), test::IsOkAndHolds(program_));
  EXPECT_LE(server_.fetched_bytes, 100 + 16);
}

INSTANTIATE_TEST_SUITE_P(EveryChunk, ProgramCacheCutTest, ::testing::Range(0, 7));

TEST_F(ProgramCacheTest, AnotherProgramThanTheOneAskedForIsNotTaken) {
  const TempDir dir;
  server_.program = Bytes('x');
  ProgramCache cache(dir.File("programs"));
  EXPECT_THAT(Get(cache), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("model.program says")));
  EXPECT_EQ(server_.program_calls, 3);
  EXPECT_FALSE(std::filesystem::exists(dir.File("programs")));
  server_.program = program_ + "more";
  EXPECT_FALSE(Get(cache).ok());
  server_.program = program_;
  EXPECT_THAT(Get(cache), test::IsOkAndHolds(program_));
}

TEST_F(ProgramCacheTest, ALargerOneThanAllowedIsNotAskedFor) {
  ProgramCache cache("");
  EXPECT_THAT(Get(cache, /*max_bytes=*/99), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_EQ(server_.program_calls, 0);
}

TEST_F(ProgramCacheTest, EndsWhenStopped) {
  stop_.request_stop();
  ProgramCache cache("");
  EXPECT_THAT(Get(cache), StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace tributary::sdk
