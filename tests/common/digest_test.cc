#include "common/digest.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::HasSubstr;

// FIPS 180-2, appendix B.
constexpr char kSha256OfAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kSha256OfNothing[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Sha256Test, MatchesThePublishedVectors) {
  EXPECT_EQ(Sha256::Of("").ToHex(), kSha256OfNothing);
  EXPECT_EQ(Sha256::Of("abc").ToHex(), kSha256OfAbc);
}

TEST(Sha256Test, PiecesDigestAsTheWhole) {
  Sha256 sha;
  sha.Update("a");
  Sha256 moved = std::move(sha);
  moved.Update("");
  moved.Update("bc");
  EXPECT_EQ(moved.Finish().ToHex(), kSha256OfAbc);
}

TEST(Sha256Test, FloatsAreTheirLittleEndianBytes) {
  const std::vector<float> values = {1.0F, -2.0F};
  Sha256 sha;
  sha.Update(values);
  EXPECT_EQ(sha.Finish(), Sha256::Of(absl::string_view("\x00\x00\x80\x3f\x00\x00\x00\xc0", 8)));
}

TEST(DigestTest, HexAndBytesRoundTrip) {
  const Digest digest = Sha256::Of("abc");
  EXPECT_THAT(Digest::FromHex(digest.ToHex()), IsOkAndHolds(digest));
  EXPECT_THAT(Digest::FromHex("BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"),
              IsOkAndHolds(digest));
  EXPECT_THAT(Digest::FromBytes(digest.ToBytes()), IsOkAndHolds(digest));
}

TEST(DigestTest, RefusesOtherLengthsAndDigits) {
  const std::string hex(kSha256OfAbc);
  for (const std::string& bad : {std::string(), hex.substr(1), hex + "0", "g" + hex.substr(1)}) {
    EXPECT_THAT(Digest::FromHex(bad),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("64 hexadecimal digits")))
        << bad;
  }
  EXPECT_THAT(Digest::FromBytes(std::string(31, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("32 bytes, found 31")));
}

// From the xxHash project's own sanity checks (XXH3, seed 0).
TEST(Xxh3Test, MatchesThePublishedValueOfNothing) {
  EXPECT_EQ(Xxh3(""), 0x2d06800538d394c2U);
  EXPECT_EQ(Xxh3Stream().Value(), (Xxh128{.low = 0x6001c324468d497f, .high = 0x99aa06d3014798d8}));
}

TEST(Xxh128Test, HexRoundTripsAndOtherTextIsRefused) {
  const Xxh128 value{.low = 0xfedcba9876543210, .high = 1};
  EXPECT_EQ(value.ToHex(), "0000000000000001fedcba9876543210");
  EXPECT_TRUE(Xxh128::FromHex(value.ToHex()).value() == value);
  for (const char* bad :
       {"", "1", "0000000000000001fedcba987654321", "0000000000000001fedcba98765432100",
        "000000000000000xfedcba9876543210", "0x00000000000001fedcba9876543210"}) {
    EXPECT_EQ(Xxh128::FromHex(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(Xxh3StreamTest, PiecesHashAsTheWholeAndValueMayBeAskedInBetween) {
  std::string data;
  for (int i = 0; i < 5000; ++i) data.push_back(static_cast<char>(i * 7));
  Xxh3Stream whole;
  whole.Update(data);
  Xxh3Stream pieces;
  for (size_t at = 0; at < data.size(); at += 613) {
    pieces.Update(absl::string_view(data).substr(at, 613));
    (void)pieces.Value();
  }
  EXPECT_EQ(pieces.Value(), whole.Value());
  data[4999] ^= 1;
  Xxh3Stream changed;
  changed.Update(data);
  EXPECT_FALSE(changed.Value() == whole.Value());
}

}  // namespace
}  // namespace tributary
