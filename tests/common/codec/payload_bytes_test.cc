#include "common/codec/payload_bytes.h"

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "common/codec/codec.h"
#include "common/codec/update_payload.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using ::testing::HasSubstr;
using ::tributary::test::IsOk;
using ::tributary::test::IsOkAndHolds;
using ::tributary::test::StatusIs;

constexpr UpdateInfo kInfo = {.work_order = 1, .num_examples = 1, .local_steps = 1};

class PayloadBytesTest : public ::testing::Test {
 protected:
  PayloadBytes InFile(const std::string& bytes) {
    path_ = dir_.Write("payload", bytes);
    return *PayloadBytes::Of(*File::Open(path_, O_RDONLY));
  }

  std::string path_;

 private:
  const test::TempDir dir_;
};

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 + i / 251);
  return bytes;
}

TEST_F(PayloadBytesTest, AFileGivesWhatMemoryGives) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1000}, size_t{700'000}}) {
    const std::string bytes = Pattern(size);
    const PayloadBytes memory(bytes);
    const PayloadBytes file = InFile(bytes);
    EXPECT_FALSE(file.in_memory());
    EXPECT_EQ(file.size(), size);
    ASSERT_THAT(memory.Checksum(), IsOk());
    EXPECT_EQ(*file.Checksum(), *memory.Checksum());
    for (const PayloadBytes* const payload : {&memory, &file}) {
      std::string part(size / 3, '\0');
      EXPECT_THAT(payload->Read(size / 2, absl::MakeSpan(part)), IsOk());
      EXPECT_EQ(part, bytes.substr(size / 2, size / 3));
      EXPECT_THAT(PayloadBytes(*payload).Take(), IsOkAndHolds(bytes));
      std::string beyond(2, '\0');
      EXPECT_THAT(payload->Read(size - std::min<size_t>(size, 1), absl::MakeSpan(beyond)),
                  StatusIs(absl::StatusCode::kOutOfRange));
    }
  }
}

TEST_F(PayloadBytesTest, WhatIsCutOffIsGone) {
  for (PayloadBytes payload : {PayloadBytes("abcdef"), InFile("abcdef")}) {
    payload.Truncate(2);
    EXPECT_EQ(payload.size(), 2);
    std::string one(1, '\0');
    EXPECT_THAT(payload.Read(2, absl::MakeSpan(one)), StatusIs(absl::StatusCode::kOutOfRange));
    EXPECT_EQ(*payload.Checksum(), *PayloadBytes("ab").Checksum());
    EXPECT_THAT(std::move(payload).Take(), IsOkAndHolds("ab"));
  }
}

// Codecs that read in place and codecs that cannot: a spooled update counts the same to the bit.
TEST_F(PayloadBytesTest, AnUpdateInItsFileIsTheUpdateInMemory) {
  const CodecContext context{.layout = test::FlatLayout(150'000, 7)};
  const ParamVector delta = test::RandomParams(context.layout, 3);
  const std::vector<std::vector<config::Choice>> codecs = {
      {}, {{.name = "fp16"}}, {{.name = "int8"}}, {{.name = "zstd"}}, {{.name = "topk"}}};
  for (const auto& stages : codecs) {
    SCOPED_TRACE(stages.empty() ? "raw" : stages[0].name);
    const auto codec = CreateCodec(stages);
    ASSERT_THAT(codec.status(), IsOk());
    const std::string payload = EncodeUpdate(**codec, delta, context);
    const auto memory = DecodeUpdate(**codec, kInfo, payload, context);
    const auto file = DecodeCheckedUpdate(**codec, kInfo, InFile(payload), context);
    ASSERT_THAT(memory.status(), IsOk());
    ASSERT_THAT(file.status(), IsOk());
    EXPECT_EQ(file->buffers, memory->buffers);
    // Ranges that begin and end inside blocks.
    for (const CoordinateRange range :
         {CoordinateRange{0, 150'000}, CoordinateRange{65'535, 65'537}, CoordinateRange{7, 140'001},
          CoordinateRange{5, 5}}) {
      std::vector<float> expected(static_cast<size_t>(range.size()), 0.25F);
      std::vector<float> actual = expected;
      memory->delta->AddTo(0.75F, range, absl::MakeSpan(expected));
      file->delta->AddTo(0.75F, range, absl::MakeSpan(actual));
      EXPECT_EQ(actual, expected);
    }
    EXPECT_THAT(file->delta->status(), IsOk());
  }
}

TEST_F(PayloadBytesTest, AFileOfAnUpdateIsCheckedLikeMemory) {
  const CodecContext context{.layout = test::FlatLayout(100'000)};
  const auto raw = CreateCodec({});
  ParamVector delta = test::RandomParams(context.layout, 3);
  delta.trainable()[99'999] = std::numeric_limits<float>::quiet_NaN();
  const std::string payload = EncodeUpdate(**raw, delta, context);
  EXPECT_THAT(DecodeUpdate(**raw, kInfo, InFile(payload), context),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("99999")));
  EXPECT_THAT(DecodeUpdate(**raw, kInfo, InFile(payload + "x"), context),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("found 400001")));
  EXPECT_THAT(DecodeUpdate(**raw, kInfo, InFile(""), context),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("found 0")));
}

TEST_F(PayloadBytesTest, AFileThatShrinksIsAnErrorAndNotAWrongSum) {
  const CodecContext context{.layout = test::FlatLayout(100'000)};
  const auto raw = CreateCodec({});
  const std::string payload = EncodeUpdate(**raw, test::RandomParams(context.layout, 3), context);
  PayloadBytes broken = InFile(payload);
  ASSERT_EQ(truncate(path_.c_str(), 300'000), 0);
  EXPECT_THAT(DecodeUpdate(**raw, kInfo, broken, context), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(broken.Checksum(), StatusIs(absl::StatusCode::kDataLoss));

  const auto update = DecodeUpdate(**raw, kInfo, InFile(payload), context);
  ASSERT_THAT(update.status(), IsOk());
  ASSERT_EQ(truncate(path_.c_str(), 300'000), 0);
  std::vector<float> sums(100'000);
  update->delta->AddTo(1.0F, {0, 1000}, absl::MakeSpan(sums).first(1000));
  EXPECT_THAT(update->delta->status(), IsOk());
  update->delta->AddTo(1.0F, {0, 100'000}, absl::MakeSpan(sums));
  EXPECT_THAT(update->delta->status(), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace tributary
