#include "server/store/delivery.h"

#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/store/memory_store.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::FlatLayout;
using test::IsOk;
using test::RandomParams;
using test::StatusIs;

const JobId kJob("job");
constexpr uint64_t kModelBytes = 400;

// A store that can fail to open deltas.
class FailingStore final : public MemoryStore {
 public:
  absl::StatusOr<std::unique_ptr<ModelReader>> OpenDeltas(const JobId& job, Version from,
                                                          Version to) const override {
    if (!failure.ok()) return failure;
    return MemoryStore::OpenDeltas(job, from, to);
  }
  absl::Status failure;
};

// Versions 0 to 3: 150 bytes lead to each from the one before.
class DeliveryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(store_.PutJob({.id = kJob}), IsOk());
    for (Version v = 0; v <= 3; ++v) {
      const ParamVector model = RandomParams(FlatLayout(100), static_cast<uint64_t>(v));
      Publication publication{.job = kJob, .version = v, .model = &model};
      if (v > 0) publication.delta = std::string(150, 'd');
      TRIB_ASSERT_OK_AND_ASSIGN(const VersionRecord record, store_.Publish(publication));
      digests_.push_back(record.model_digest);
    }
  }
  HeldVersion Held(Version version) const {
    return {version, digests_[static_cast<size_t>(version)]};
  }
  // Bytes of the answer, and whether they are deltas.
  std::pair<uint64_t, bool> Open(Version version, const std::optional<HeldVersion>& held) const {
    const auto reader = OpenDelivery(store_, kJob, version, held).value();
    EXPECT_EQ(reader->record().version, version);
    return {reader->size_bytes(), !reader->deltas().empty()};
  }
  const std::pair<uint64_t, bool> values_ = {kModelBytes, false};

  FailingStore store_;
  std::vector<Digest> digests_;
};

TEST_F(DeliveryTest, ANewcomerGetsTheValues) { EXPECT_EQ(Open(3, std::nullopt), values_); }

TEST_F(DeliveryTest, AClientThatIsBehindGetsDeltasWhileTheyAreFewerBytes) {
  EXPECT_EQ(Open(3, Held(2)), std::pair(uint64_t{150}, true));
  EXPECT_EQ(Open(3, Held(1)), std::pair(uint64_t{300}, true));
  EXPECT_EQ(Open(3, Held(0)), values_) << "450 of 400 bytes";
}

TEST_F(DeliveryTest, OfAnEarlierVersionToo) {
  EXPECT_EQ(Open(1, Held(0)), std::pair(uint64_t{150}, true));
}

TEST_F(DeliveryTest, WhatCannotBeABaseIsNone) {
  EXPECT_EQ(Open(3, HeldVersion{2, digests_[1]}), values_) << "another model than it says";
  EXPECT_EQ(Open(3, HeldVersion{9, digests_[2]}), values_);
  EXPECT_EQ(Open(3, HeldVersion{-1, digests_[2]}), values_);
  EXPECT_EQ(Open(2, Held(3)), values_) << "newer";
  EXPECT_EQ(Open(3, Held(3)), values_) << "the same: the caller says so without any bytes";
}

TEST_F(DeliveryTest, ABaseWhoseValuesAreGoneStillServes) {
  ASSERT_THAT(store_.Prune(kJob, 1), IsOk());
  EXPECT_EQ(Open(3, Held(1)), std::pair(uint64_t{300}, true));
}

TEST_F(DeliveryTest, DeltasThatCannotBeReadAreDoneWithout) {
  store_.failure = absl::DataLossError("damaged");
  EXPECT_EQ(Open(3, Held(2)), values_);
}

TEST_F(DeliveryTest, AVersionThatIsGoneIsNotFound) {
  ASSERT_THAT(store_.Prune(kJob, 1), IsOk());
  EXPECT_THAT(OpenDelivery(store_, kJob, 2, Held(1)), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(OpenDelivery(store_, kJob, 4, Held(1)), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace tributary
