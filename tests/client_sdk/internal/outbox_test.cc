#include "client_sdk/internal/outbox.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/temp_dir.h"

namespace tributary::sdk {
namespace {

using ::tributary::test::ParamsNear;
using ::tributary::test::RandomParams;
using ::tributary::test::ReadFile;
using ::tributary::test::TempDir;
using ::tributary::test::TinyLayout;

const ClientId kClient("c1");

OutgoingUpdate MakeUpdate(bool with_residual = true) {
  OutgoingUpdate update{.job_name = "people say \"job\"",
                        .payload = std::make_shared<const std::string>("a\0b\xff", 4)};
  update.header.job = JobId("job-1");
  update.header.info = {.work_order = 77,
                        .base_version = 5,
                        .num_examples = 123,
                        .local_steps = 9,
                        .learning_rate = 0.1,
                        .loss = 1.0 / 3,
                        .accuracy = 0.7};
  update.header.layout_digest = TinyLayout()->digest();
  if (with_residual) {
    update.residual = Residual{.values = RandomParams(TinyLayout(), 4), .weight = 123};
  }
  return update;
}

class OutboxTest : public ::testing::Test {
 protected:
  std::string Directory() const { return dir_.File("state/outbox"); }
  std::string UpdatePath() const { return Directory() + "/update"; }
  std::string ResidualPath() const { return Directory() + "/residual.safetensors"; }
  const TempDir dir_;
};

TEST_F(OutboxTest, InMemoryItHoldsOneUpdate) {
  Outbox outbox("", kClient);
  EXPECT_EQ(outbox.update(), nullptr);
  outbox.Put(MakeUpdate());
  ASSERT_NE(outbox.update(), nullptr);
  EXPECT_EQ(*outbox.update()->payload, *MakeUpdate().payload);
  outbox.Remove();
  EXPECT_EQ(outbox.update(), nullptr);
}

TEST_F(OutboxTest, AnUpdateOutlivesTheProcessToTheLastBit) {
  const OutgoingUpdate put = MakeUpdate();
  Outbox(Directory(), kClient).Put(MakeUpdate());
  Outbox outbox(Directory(), kClient);
  const OutgoingUpdate* const found = outbox.update();
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->job_name, put.job_name);
  EXPECT_EQ(*found->payload, *put.payload);
  EXPECT_EQ(found->header.job, put.header.job);
  EXPECT_EQ(found->header.layout_digest, put.header.layout_digest);
  EXPECT_EQ(found->header.info.work_order, 77);
  EXPECT_EQ(found->header.info.base_version, 5);
  EXPECT_EQ(found->header.info.num_examples, 123);
  EXPECT_EQ(found->header.info.local_steps, 9);
  EXPECT_EQ(found->header.info.learning_rate, 0.1);
  EXPECT_EQ(found->header.info.loss, 1.0 / 3);
  EXPECT_EQ(found->header.info.accuracy, 0.7);
  ASSERT_TRUE(found->residual);
  EXPECT_EQ(found->residual->weight, 123);
  EXPECT_THAT(found->residual->values, ParamsNear(put.residual->values, 0));
}

TEST_F(OutboxTest, WhatIsRemovedStaysAway) {
  Outbox outbox(Directory(), kClient);
  outbox.Put(MakeUpdate());
  outbox.Remove();
  EXPECT_EQ(outbox.update(), nullptr);
  EXPECT_TRUE(std::filesystem::is_empty(Directory()));
  EXPECT_EQ(Outbox(Directory(), kClient).update(), nullptr);
}

TEST_F(OutboxTest, AnUpdateWithoutAResidualDoesNotGetTheOneBefore) {
  Outbox outbox(Directory(), kClient);
  outbox.Put(MakeUpdate());
  outbox.Put(MakeUpdate(/*with_residual=*/false));
  Outbox again(Directory(), kClient);
  ASSERT_NE(again.update(), nullptr);
  EXPECT_FALSE(again.update()->residual);
}

TEST_F(OutboxTest, ADeathBetweenTheTwoFilesLeavesNoUpdate) {
  Outbox(Directory(), kClient).Put(MakeUpdate());
  std::filesystem::remove(UpdatePath());
  EXPECT_EQ(Outbox(Directory(), kClient).update(), nullptr);
}

TEST_F(OutboxTest, ALostResidualDoesNotLoseTheUpdate) {
  Outbox(Directory(), kClient).Put(MakeUpdate());
  std::ofstream(ResidualPath(), std::ios::binary) << "no";
  Outbox outbox(Directory(), kClient);
  ASSERT_NE(outbox.update(), nullptr);
  EXPECT_FALSE(outbox.update()->residual);
}

TEST_F(OutboxTest, AnotherClientsUpdateIsDropped) {
  Outbox(Directory(), kClient).Put(MakeUpdate());
  EXPECT_EQ(Outbox(Directory(), ClientId("c2")).update(), nullptr);
  EXPECT_TRUE(std::filesystem::is_empty(Directory()));
}

TEST_F(OutboxTest, DamageAnywhereIsSeenAndTheFileDropped) {
  Outbox(Directory(), kClient).Put(MakeUpdate(/*with_residual=*/false));
  const std::string whole = ReadFile(UpdatePath());
  std::vector<std::string> damaged = {"", whole + "x"};
  for (size_t i = 0; i < whole.size(); ++i) {
    damaged.push_back(whole.substr(0, i));
    damaged.push_back(whole);
    damaged.back()[i] = static_cast<char>(damaged.back()[i] ^ 0x40);
  }
  for (const std::string& bytes : damaged) {
    std::ofstream(UpdatePath(), std::ios::binary) << bytes;
    ASSERT_EQ(Outbox(Directory(), kClient).update(), nullptr);
    ASSERT_FALSE(std::filesystem::exists(UpdatePath()));
  }
  std::ofstream(UpdatePath(), std::ios::binary) << whole;
  EXPECT_NE(Outbox(Directory(), kClient).update(), nullptr);
}

TEST_F(OutboxTest, AFolderThatCannotBeWrittenIsDoneWithout) {
  std::ofstream(dir_.File("state")) << "a file in the way";
  Outbox outbox(Directory(), kClient);
  outbox.Put(MakeUpdate());
  ASSERT_NE(outbox.update(), nullptr);
  EXPECT_EQ(*outbox.update()->payload, *MakeUpdate().payload);
  outbox.Remove();
  EXPECT_EQ(outbox.update(), nullptr);
}

}  // namespace
}  // namespace tributary::sdk
