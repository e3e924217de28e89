#include "client_sdk/data/tokenizer.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ByteTokenizerTest, EveryTextIsItsBytes) {
  const auto tokenizer = MakeByteTokenizer();
  EXPECT_EQ(tokenizer->vocabulary(), 256);
  const std::string text("a\0\xff", 3);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokens, tokenizer->Encode(text));
  EXPECT_THAT(tokens, ElementsAre(97, 0, 255));
  EXPECT_EQ(tokenizer->Decode(tokens), text);
}

TEST(CharacterTokenizerTest, CharactersAreInTheOrderOfTheirCodePoints) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, MakeCharacterTokenizer({"b€a", "éb😀"}));
  EXPECT_EQ(tokenizer->vocabulary(), 5);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokens, tokenizer->Encode("abé€😀a"));
  EXPECT_THAT(tokens, ElementsAre(0, 1, 2, 3, 4, 0));
  EXPECT_EQ(tokenizer->Decode(tokens), "abé€😀a");
}

TEST(CharacterTokenizerTest, RefusesWhatIsNotUtf8OrUnknown) {
  using Code = absl::StatusCode;
  for (const char* text : {"ab\xff", "ab\xc3", "ab\xc3(", "ab\x80", "ab\xc0\x80"}) {
    EXPECT_THAT(MakeCharacterTokenizer({text}),
                StatusIs(Code::kInvalidArgument, HasSubstr("byte 2: not UTF-8")));
  }
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, MakeCharacterTokenizer({"ab"}));
  EXPECT_THAT(tokenizer->Encode("ba!"),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr("byte 2: the character '!' is none of the 2 that")));
}

}  // namespace
}  // namespace tributary
