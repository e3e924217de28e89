#include "client_sdk/data/utf8.h"

#include <cstdint>
#include <string>

#include "gtest/gtest.h"

namespace tributary {
namespace {

// RFC 3629, section 3: a code point in bytes.
std::string Encoded(uint32_t point) {
  const auto tail = [point](int shift) {
    return static_cast<char>(0x80 | (point >> shift & 0x3f));
  };
  if (point < 0x80) return {static_cast<char>(point)};
  if (point < 0x800) return {static_cast<char>(0xc0 | point >> 6), tail(0)};
  if (point < 0x10000) return {static_cast<char>(0xe0 | point >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xf0 | point >> 18), tail(12), tail(6), tail(0)};
}

TEST(Utf8Test, EveryCodePointButSurrogatesHasItsSize) {
  for (uint32_t point = 0; point < 0x120000; ++point) {
    const bool surrogate = point >= 0xd800 && point < 0xe000;
    const std::string text = Encoded(point);
    ASSERT_EQ(CharacterSize(text), surrogate || point > 0x10ffff ? 0 : text.size()) << point;
    ASSERT_EQ(CharacterSize(text + "x"), CharacterSize(text)) << point;
    if (text.size() > 1) {
      ASSERT_EQ(CharacterSize(text.substr(0, text.size() - 1)), 0U) << point;
    }
  }
}

TEST(Utf8Test, NothingElseIsACharacter) {
  EXPECT_EQ(CharacterSize(""), 0U);
  for (const char* bytes :
       {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xc3x",
        "\xe2\x96x", "\xf8\x88\x80\x80\x80", "\xff"}) {
    EXPECT_EQ(CharacterSize(bytes), 0U) << testing::PrintToString(bytes);
  }
}

}  // namespace
}  // namespace tributary
