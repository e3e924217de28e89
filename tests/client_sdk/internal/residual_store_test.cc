#include "client_sdk/internal/residual_store.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::sdk {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::IsOk;
using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::StatusIs;
using ::tributary::test::TempDir;
using ::tributary::test::TinyLayout;
using Code = absl::StatusCode;

const ClientId kClient("c1");
const JobId kJob("job-1");

Residual MakeResidual(uint64_t seed, int64_t weight = 7) {
  return {.values = RandomParams(TinyLayout(), seed), .weight = weight};
}

void ExpectFound(ResidualStore& store, const JobId& job, uint64_t seed) {
  const Residual* const found = store.Find(job);
  ASSERT_NE(found, nullptr);
  EXPECT_THAT(found->values, ParamsNear(RandomParams(TinyLayout(), seed), 0));
  EXPECT_EQ(found->weight, 7);
}

class ResidualStoreTest : public ::testing::TestWithParam<bool> {
 protected:
  std::string Directory() const { return GetParam() ? dir_.File("state/residuals") : ""; }
  const TempDir dir_;
};
INSTANTIATE_TEST_SUITE_P(Kept, ResidualStoreTest, ::testing::Bool(),
                         [](const auto& test) { return test.param ? "on_disk" : "in_memory"; });

TEST_P(ResidualStoreTest, EachJobHasItsLast) {
  ResidualStore store(Directory(), kClient);
  EXPECT_EQ(store.Find(kJob), nullptr);
  store.Commit(kJob, MakeResidual(1));
  store.Commit(JobId("other"), MakeResidual(2));
  store.Commit(kJob, MakeResidual(3));
  ExpectFound(store, kJob, 3);
  ExpectFound(store, JobId("other"), 2);
  store.Commit(kJob, std::nullopt);
  EXPECT_EQ(store.Find(kJob), nullptr);
  ExpectFound(store, JobId("other"), 2);
}

TEST_P(ResidualStoreTest, OutlivesTheProcessOnDiskAlone) {
  {
    ResidualStore store(Directory(), kClient);
    store.Commit(kJob, MakeResidual(1));
    store.Commit(JobId("other"), MakeResidual(2));
  }
  ResidualStore store(Directory(), kClient);
  if (!GetParam()) {
    EXPECT_EQ(store.Find(kJob), nullptr);
    return;
  }
  ExpectFound(store, kJob, 1);
  store.Commit(JobId("other"), std::nullopt);
  ResidualStore again(Directory(), kClient);
  ExpectFound(again, kJob, 1);
  EXPECT_EQ(again.Find(JobId("other")), nullptr);
}

class ResidualFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(WriteResidual(Path(), {kClient, kJob}, MakeResidual(1)), IsOk());
  }
  std::string Path() const { return dir_.File("job-1.safetensors"); }
  void ExpectDamageIsSeen() const {
    const std::string whole = test::ReadFile(Path());
    const Residual undamaged = ReadResidual(Path(), {kClient, kJob}).value();
    for (size_t i = 0; i < whole.size(); ++i) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ 1);
      std::ofstream(Path(), std::ios::binary) << damaged;
      const auto read = ReadResidual(Path(), {kClient, kJob});
      if (!read.ok()) continue;
      // A name of a tensor is not part of the values. The layout is another then, and not used;
      // the momentum's is not looked at.
      if (read->values.layout()->digest() != TinyLayout()->digest()) continue;
      ASSERT_FALSE(undamaged.momentum.empty()) << "byte " << i;
      ASSERT_EQ(read->values.ComputeDigest(), undamaged.values.ComputeDigest()) << "byte " << i;
      ASSERT_EQ(read->momentum.ComputeDigest(), undamaged.momentum.ComputeDigest()) << "byte " << i;
    }
  }
  const TempDir dir_;
};

TEST_F(ResidualFileTest, AnotherClientsOrJobsIsNotTaken) {
  EXPECT_THAT(ReadResidual(Path(), {kClient, kJob}), IsOk());
  EXPECT_THAT(ReadResidual(Path(), {ClientId("c2"), kJob}),
              StatusIs(Code::kFailedPrecondition, HasSubstr("'c1'")));
  EXPECT_THAT(ReadResidual(Path(), {kClient, JobId("job-2")}),
              StatusIs(Code::kFailedPrecondition, HasSubstr("'job-2'")));
  EXPECT_THAT(ReadResidual(dir_.File("none"), {kClient, kJob}), StatusIs(Code::kNotFound));
  ResidualStore foreign(dir_.path(), ClientId("c2"));
  EXPECT_EQ(foreign.Find(kJob), nullptr);
  EXPECT_FALSE(std::filesystem::exists(Path())) << "nobody's now";
}

TEST_F(ResidualFileTest, MomentumIsInTheSameFile) {
  Residual residual = MakeResidual(1);
  residual.momentum = RandomParams(TinyLayout(), 2);
  for (ParamVector* const part : {&residual.values, &residual.momentum}) {
    std::ranges::fill(part->buffers(), 0.0F);
  }
  ASSERT_THAT(WriteResidual(Path(), {kClient, kJob}, residual), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const Residual read, ReadResidual(Path(), {kClient, kJob}));
  EXPECT_THAT(read.values, ParamsNear(residual.values, 0));
  EXPECT_THAT(read.momentum, ParamsNear(residual.momentum, 0));
  EXPECT_EQ(read.values.layout()->digest(), TinyLayout()->digest());
  EXPECT_EQ(read.weight, 7);
  ExpectDamageIsSeen();
}

TEST_F(ResidualFileTest, DamageAnywhereIsSeen) {
  ExpectDamageIsSeen();
  const std::string whole = test::ReadFile(Path());
  for (const size_t size : {size_t{0}, size_t{7}, whole.size() / 2, whole.size() - 1}) {
    std::ofstream(Path(), std::ios::binary) << whole.substr(0, size);
    ResidualStore store(dir_.path(), kClient);
    EXPECT_EQ(store.Find(kJob), nullptr);
    EXPECT_FALSE(std::filesystem::exists(Path()));
  }
}

TEST_F(ResidualFileTest, WhatCannotBeWrittenDoesNotLeaveAnOldOne) {
  ResidualStore store(dir_.path(), kClient);
  ExpectFound(store, kJob, 1);
  std::filesystem::remove(Path());
  std::filesystem::create_directory(Path());  // nothing can be renamed to it
  store.Commit(kJob, MakeResidual(2));
  ExpectFound(store, kJob, 2);
  EXPECT_EQ(ResidualStore(dir_.path(), kClient).Find(kJob), nullptr);
}

}  // namespace
}  // namespace tributary::sdk
