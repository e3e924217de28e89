#include "common/codec/zstd.h"

#include <zstd.h>

#include <cstdint>
#include <string>

#include "common/codec/codec_registry.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using absl::StatusCode;
using test::IsOk;
using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::HasSubstr;

std::unique_ptr<ZstdCompressor> Make(int64_t level = 1) {
  return ZstdCompressor::Create({.level = level}).value();
}

std::string RandomBytes(size_t size, uint64_t seed) {
  Rng rng(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.Next());
  return bytes;
}

// A frame whose header says `size` where `content` is, with zstd's streaming calls: their window is
// what a decoder that streams would allocate.
std::string Frame(const std::string& content, int window_log, bool says_size) {
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, says_size ? 1 : 0);
  if (says_size) ZSTD_CCtx_setPledgedSrcSize(context, content.size());
  std::string frame(ZSTD_compressBound(content.size()), '\0');
  ZSTD_inBuffer in{content.data(), content.size(), 0};
  ZSTD_outBuffer out{frame.data(), frame.size(), 0};
  EXPECT_EQ(ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0U);
  ZSTD_freeCCtx(context);
  frame.resize(out.pos);
  return frame;
}

TEST(ZstdTest, GivesBackWhatItWasGivenAtEveryLevel) {
  for (const size_t size : {0, 1, 1000, 300'000}) {
    for (const std::string& bytes : {std::string(size, 'a'), RandomBytes(size, 1)}) {
      for (int64_t level = 1; level <= 19; level += 3) {
        const auto zstd = Make(level);
        const std::string frame = zstd->Compress(bytes);
        EXPECT_LE(frame.size(), bytes.size() + bytes.size() / 256 + 64);
        ASSERT_THAT(zstd->Decompress(frame, size), IsOkAndHolds(bytes)) << size << " " << level;
      }
    }
  }
}

TEST(ZstdTest, HigherLevelsAreSmaller) {
  std::string text;
  Rng rng(2);
  while (text.size() < 200'000) text += std::to_string(rng.UniformInt(1000)) + " of ";
  EXPECT_LT(Make(19)->Compress(text).size(), Make(1)->Compress(text).size());
  EXPECT_LT(Make(1)->Compress(text).size(), text.size() / 2);
}

TEST(ZstdTest, MoreThanTheMostIsRefusedByTheHeaderAlone) {
  const auto zstd = Make();
  const std::string frame = zstd->Compress(std::string(1 << 20, 'a'));
  EXPECT_THAT(zstd->Decompress(frame, 1 << 20), IsOk());
  EXPECT_THAT(zstd->Decompress(frame, (1 << 20) - 1),
              StatusIs(StatusCode::kInvalidArgument,
                       HasSubstr("1048576 bytes; allowed are at most 1048575")));
  // One raw block of one byte under a header that promises 2^62: nothing of that is allocated.
  const std::string hostile("\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x40\x09\x00\x00x",
                            17);
  EXPECT_THAT(zstd->Decompress(hostile, size_t{1} << 40),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("4611686018427387904")));
  EXPECT_THAT(zstd->Decompress(hostile, 100), StatusIs(StatusCode::kInvalidArgument));
}

TEST(ZstdTest, AHeaderThatPromisesMoreOrLessThanThereIsIsRefused) {
  const auto zstd = Make();
  const std::string frame = zstd->Compress(RandomBytes(300, 3));
  // Single segment, size in two bytes, less 256.
  ASSERT_EQ(static_cast<uint8_t>(frame[4]), 0x60);
  for (const int off : {-1, 1, 40}) {
    std::string other = frame;
    other[5] = static_cast<char>(other[5] + off);
    EXPECT_THAT(zstd->Decompress(other, 1000),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("zstd: ")))
        << off;
  }
}

TEST(ZstdTest, AFrameWithoutItsSizeIsRefused) {
  const std::string content(100'000, 'b');
  EXPECT_THAT(Make()->Decompress(Frame(content, 17, true), content.size()), IsOkAndHolds(content));
  EXPECT_THAT(
      Make()->Decompress(Frame(content, 17, false), content.size()),
      StatusIs(StatusCode::kInvalidArgument, HasSubstr("does not say how large its content is")));
}

TEST(ZstdTest, OneFrameAndNothingElse) {
  const auto zstd = Make();
  const std::string frame = zstd->Compress("content");
  const std::string skippable("\x50\x2a\x4d\x18\x01\x00\x00\x00x", 9);
  EXPECT_THAT(zstd->Decompress(frame + "x", 100),
              StatusIs(StatusCode::kInvalidArgument, HasSubstr("1 bytes after the end")));
  EXPECT_THAT(zstd->Decompress(frame + frame, 100), StatusIs(StatusCode::kInvalidArgument));
  EXPECT_THAT(zstd->Decompress(frame + skippable, 100), StatusIs(StatusCode::kInvalidArgument));
  for (const std::string& not_one : {skippable, skippable + frame, std::string(), std::string("x"),
                                     std::string("content"), frame.substr(1)}) {
    EXPECT_THAT(zstd->Decompress(not_one, 100),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("do not begin with a frame")));
  }
  for (size_t size = 4; size < frame.size(); ++size) {
    EXPECT_THAT(zstd->Decompress(frame.substr(0, size), 100),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("not whole")))
        << size;
  }
}

TEST(ZstdTest, FlippedBitsAreRefusedOrGiveNoMoreThanTheMost) {
  const auto zstd = Make();
  std::string text;
  for (int i = 0; i < 200; ++i) text += std::to_string(i * i);
  const std::string frame = zstd->Compress(text);
  for (size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    std::string other = frame;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
    const auto content = zstd->Decompress(other, text.size());
    if (content.ok()) {
      EXPECT_LE(content->size(), text.size());
    } else {
      EXPECT_THAT(content, StatusIs(StatusCode::kInvalidArgument, HasSubstr("zstd: ")));
    }
  }
}

TEST(ZstdTest, LevelsAreFrom1To19) {
  for (const int level : {0, 20, -1}) {
    EXPECT_THAT(CodecRegistry().Create({.name = "zstd", .options = {{"level", level}}}),
                StatusIs(StatusCode::kInvalidArgument, HasSubstr("level")));
  }
}

}  // namespace
}  // namespace tributary
