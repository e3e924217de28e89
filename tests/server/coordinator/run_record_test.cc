#include "server/coordinator/run_record.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/coordinator/run_summary.h"

namespace tributary {
namespace {

using ::testing::MatchesRegex;

const absl::Time kStart = absl::FromUnixSeconds(1000);

JobEvent Available(const char* client) {
  return {kStart, event::ClientAvailable{.client = ClientId(client)}};
}
const std::vector<JobAction> kWake = {action::WakeAt{kStart + absl::Seconds(5)}};

TEST(RunDigestTest, EqualRunsHaveEqualDigests) {
  RunDigest a, b;
  std::string last;
  for (const char* client : {"x", "y", "x"}) {
    const std::string digest = a.Add(Available(client), kWake);
    EXPECT_THAT(digest, MatchesRegex("[0-9a-f]{16}"));
    EXPECT_EQ(digest, b.Add(Available(client), kWake));
    EXPECT_NE(digest, last);
    last = digest;
  }
}

TEST(RunDigestTest, AnotherEventDecisionOrHistoryIsAnotherDigest) {
  const std::string digest = RunDigest().Add(Available("x"), kWake);
  EXPECT_NE(digest, RunDigest().Add(Available("y"), kWake));
  EXPECT_NE(digest, RunDigest().Add(Available("x"), {}));
  EXPECT_NE(digest, RunDigest().Add(Available("x"), {action::WakeAt{kStart + absl::Seconds(6)}}));
  RunDigest later;
  later.Add(Available("x"), {});
  EXPECT_NE(digest, later.Add(Available("x"), kWake));
}

TEST(RunDigestTest, ItIsTheSameAfterAWayThroughTheJournal) {
  const JobEvent failed = {
      kStart, event::WorkFailed{.work_order = 3, .message = "bytes \xff that are no text"}};
  const auto read = JobEventFromJson(nlohmann::json::parse(ToLine(ToJson(failed))));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(RunDigest().Add(failed, {}), RunDigest().Add(*read, {}));
}

TEST(RunRecordTest, AnUpdateKeepsItsChecksum) {
  event::UpdateArrived update{.info = {.work_order = 7}, .bytes = 12};
  EXPECT_FALSE(ToJson(JobEvent{kStart, update}).contains("xxh128"));
  update.checksum = Xxh128{.low = 1, .high = uint64_t{0xab} << 56};
  const nlohmann::json json = ToJson(JobEvent{kStart, update});
  EXPECT_EQ(json.at("xxh128"), "ab000000000000000000000000000001");
  EXPECT_EQ(std::get<event::UpdateArrived>(JobEventFromJson(json)->what).checksum, update.checksum);
  for (const char* bad : {"", "ab", "zz000000000000000000000000000001"}) {
    nlohmann::json damaged = json;
    damaged["xxh128"] = bad;
    EXPECT_EQ(JobEventFromJson(damaged).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(RunRecordTest, TheFirstLineSaysWhatAReplayNeeds) {
  const auto spec = ParseJobSpecJson(
      R"({"name": "n", "model": {"custom": "m", "initial": "first.safetensors"},
          "train": {"local_steps": 1}, "scheduler": {"sync_round": {"clients_per_round": 1}},
          "stop": {"versions": 1}})");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const nlohmann::json line = FirstLine(*spec, kStart);
  EXPECT_EQ(line.at("initial_model"), true);
  EXPECT_EQ(line.at("started_at"), absl::ToUnixNanos(kStart));
  EXPECT_EQ(CanonicalJson(*ParseJobSpecJson(line.at("job").dump())), CanonicalJson(*spec));
}

TEST(MetricsCsvTest, WhatIsNotKnownIsEmpty) {
  EXPECT_EQ(MetricsCsv({{.version = 1, .virtual_seconds = 2.5, .downlink_bytes = 8}, {}}),
            "version,virtual_seconds,updates,loss,accuracy,uplink_bytes,downlink_bytes,"
            "client_steps,server_rate,mean_staleness,client_rate\n"
            "1,2.5,0,,,0,8,0,1.0,0.0,1.0\n"
            "0,0.0,0,,,0,,0,1.0,0.0,1.0\n");
}

}  // namespace
}  // namespace tributary
