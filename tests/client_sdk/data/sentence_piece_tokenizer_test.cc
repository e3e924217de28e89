#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client_sdk/data/sentence_piece_model.h"
#include "client_sdk/data/tokenizer.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/data/sentence_piece_file.h"
#include "tests/client_sdk/data/sentence_piece_library.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::Bytes;
using test::Normalizer;
using test::Number;
using test::Piece;
using test::SentencePieceLibrary;
using test::StatusIs;
using test::TempDir;
using test::Trainer;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Each;
using ::testing::ElementsAreArray;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::Lt;
using Code = absl::StatusCode;
using Kind = SentencePieceModel::Kind;

// Sentences with words in common, and some characters outside ASCII.
std::vector<std::string> Corpus() {
  const std::vector<std::string> subjects = {"the cat", "a small dog", "her brother", "Zoë",
                                             "das Mädchen"};
  const std::vector<std::string> verbs = {"sat on", "ran over", "looked at", "was under", "mag"};
  const std::vector<std::string> objects = {"the mat", "100 trees", "日本語の本", "a naïve café",
                                            "THE RIVER"};
  std::vector<std::string> lines;
  for (const std::string& s : subjects) {
    for (const std::string& v : verbs) {
      for (const std::string& o : objects) lines.push_back(absl::StrCat(s, " ", v, " ", o, "."));
    }
  }
  return lines;
}

// Text of bytes that mean something to a model, or to none.
std::string RandomText(Rng& rng) {
  static const std::vector<std::string> parts = {"the",
                                                 " cat",
                                                 "sat on ",
                                                 "  ",
                                                 " ",
                                                 "\n",
                                                 "\t",
                                                 "a",
                                                 "e",
                                                 "Mä",
                                                 "dchen",
                                                 "日本",
                                                 "語",
                                                 "本",
                                                 "ﬁ",
                                                 "①",
                                                 "Ａ",
                                                 "½",
                                                 "é",
                                                 "e\u0301",
                                                 "\u00a0",
                                                 "\u3000",
                                                 "\u2581",
                                                 "😀",
                                                 "<s>",
                                                 "</s>",
                                                 "<unk>",
                                                 "<0x41>",
                                                 "[x]",
                                                 "[xy]",
                                                 "ß",
                                                 "İ",
                                                 "㌔",
                                                 "\u200b",
                                                 "!",
                                                 "100",
                                                 std::string(1, '\0'),
                                                 "\xff",
                                                 "\xc3",
                                                 "\xe2\x96",
                                                 "\xed\xa0\x80",
                                                 "\xf5\x80\x80\x80",
                                                 "\xc0\xaf"};
  std::string text;
  for (int64_t length = rng.UniformInt(20); length > 0; --length) {
    text += parts[static_cast<size_t>(rng.UniformInt(std::ssize(parts)))];
  }
  return text;
}

struct Variant {
  const char* name;
  const char* flags;
};

class SentencePieceTest : public ::testing::TestWithParam<Variant> {
 protected:
  const std::string model_ = SentencePieceLibrary::Train(Corpus(), GetParam().flags);
  const SentencePieceLibrary library_{model_};
};

TEST_P(SentencePieceTest, EncodesAndDecodesAsTheLibraryDoes) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, MakeSentencePieceTokenizer(model_));
  Rng rng(1);
  std::vector<std::string> texts = Corpus();
  for (int i = 0; i < 2000; ++i) texts.push_back(RandomText(rng));
  for (const std::string& text : texts) {
    TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<int32_t> tokens, tokenizer->Encode(text));
    const std::vector<int> expected = library_.Encode(text);
    ASSERT_THAT(tokens, ElementsAreArray(expected)) << ::testing::PrintToString(text);
    ASSERT_EQ(tokenizer->Decode(tokens), library_.Decode(expected))
        << ::testing::PrintToString(text);
  }
}

TEST_P(SentencePieceTest, DecodesAnyTokensAsTheLibraryDoes) {
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, MakeSentencePieceTokenizer(model_));
  Rng rng(2);
  for (int i = 0; i < 2000; ++i) {
    std::vector<int32_t> tokens;
    for (int64_t length = rng.UniformInt(12); length > 0; --length) {
      tokens.push_back(static_cast<int32_t>(rng.UniformInt(tokenizer->vocabulary())));
    }
    ASSERT_EQ(tokenizer->Decode(tokens), library_.Decode({tokens.begin(), tokens.end()}))
        << ::testing::PrintToString(tokens);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, SentencePieceTest,
    ::testing::Values(
        Variant{"Unigram", "--model_type=unigram --vocab_size=90"},
        Variant{"BytePairs", "--model_type=bpe --vocab_size=120"},
        // As Llama's.
        Variant{"BytePairsWithBytes",
                "--model_type=bpe --vocab_size=400 --byte_fallback=true --character_coverage=0.98 "
                "--normalization_rule_name=identity --remove_extra_whitespaces=false"},
        Variant{"UnigramWithBytes",
                "--model_type=unigram --vocab_size=340 --byte_fallback=true "
                "--character_coverage=0.98"},
        Variant{"Nfkc", "--model_type=bpe --vocab_size=110 --normalization_rule_name=nfkc"},
        Variant{"FoldedCase",
                "--model_type=unigram --vocab_size=90 --normalization_rule_name=nmt_nfkc_cf"},
        Variant{"NoDummyPrefix", "--model_type=bpe --vocab_size=100 --add_dummy_prefix=false"},
        Variant{"NoDummyPrefixSpacesKept",
                "--model_type=unigram --vocab_size=90 --add_dummy_prefix=false "
                "--remove_extra_whitespaces=false"},
        Variant{"SpaceIsASuffix",
                "--model_type=bpe --vocab_size=100 --treat_whitespace_as_suffix=true"},
        Variant{"UnigramUserDefined",
                "--model_type=unigram --vocab_size=100 --user_defined_symbols=[x],[xy],at,<0x41>"},
        Variant{"BytePairsUserDefined",
                "--model_type=bpe --vocab_size=110 --user_defined_symbols=[x],[xy],at "
                "--control_symbols=<c>,<d> --unk_surface=?"}),
    [](const auto& variant) { return variant.param.name; });

// Pieces that no trainer makes, in both algorithms; the library reads the same file.
TEST(SentencePieceTokenizerTest, UnusedPiecesAreTakenApartAndUserDefinedOnesStay) {
  std::string pieces = Piece("<unk>", 0, Kind::kUnknown) + Piece("<s>", 0, Kind::kControl);
  double score = -1;
  for (const char* text :
       {"ab", "abc", "abcd", "cd", "bcd", "a", "b", "c", "d", "\u2581", "\u2581a"}) {
    const bool unused = text == std::string("abc") || text == std::string("cd");
    pieces += Piece(text, static_cast<float>(score--), unused ? Kind::kUnused : Kind::kNormal);
  }
  pieces += Piece("dd", -100, Kind::kUserDefined);
  Rng rng(3);
  for (const int type : {1, 2}) {
    const std::string model = pieces + Trainer(Number(3, type)) + Normalizer(Number(4, 0));
    const SentencePieceLibrary library(model);
    TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, MakeSentencePieceTokenizer(model));
    for (int i = 0; i < 3000; ++i) {
      std::string text;
      for (int64_t length = rng.UniformInt(12); length > 0; --length) {
        text += "abcd x"[rng.UniformInt(6)];
      }
      ASSERT_THAT(tokenizer->Encode(text),
                  test::IsOkAndHolds(ElementsAreArray(library.Encode(text))))
          << type << " '" << text << "'";
    }
  }
}

TEST(SentencePieceTokenizerTest, LongText) {
  const std::string model =
      SentencePieceLibrary::Train(Corpus(), "--model_type=bpe --vocab_size=120");
  const SentencePieceLibrary library(model);
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, MakeSentencePieceTokenizer(model));
  std::string text;
  while (text.size() < 300000) {
    for (const std::string& line : Corpus()) text += line + "\n";
  }
  EXPECT_THAT(tokenizer->Encode(text), test::IsOkAndHolds(ElementsAreArray(library.Encode(text))));
}

TEST(SentencePieceTokenizerTest, RefusesModelsThatContradictThemselves) {
  const std::string unknown = Piece("<unk>", 0, Kind::kUnknown);
  const float infinite = std::numeric_limits<float>::infinity();
  const struct {
    std::string model;
    Code code;
    const char* message;
  } kBad[] = {
      {"", Code::kInvalidArgument, "it has no unknown piece"},
      {"not a model", Code::kInvalidArgument, "not a SentencePiece model: "},
      {unknown + Piece("<UNK>", 0, Kind::kUnknown), Code::kInvalidArgument,
       "piece 1 '<UNK>': it is the second unknown piece; allowed: one"},
      {unknown + Piece("a", 0, Kind::kNormal) + Piece("a", 1, Kind::kUserDefined),
       Code::kInvalidArgument, "piece 2 'a': it is there twice"},
      {unknown + Piece("", 0, Kind::kNormal), Code::kInvalidArgument, "piece 1 '': it has no text"},
      {unknown + Piece("a", infinite, Kind::kNormal), Code::kInvalidArgument,
       "piece 1 'a': its score is not finite"},
      {unknown + Piece("a", 0, static_cast<Kind>(7)), Code::kUnimplemented,
       "type is 7; allowed: 1 to 6"},
      {unknown + Trainer(Number(3, 4)), Code::kUnimplemented,
       "model_type (unigram, bpe) is 4; allowed: 1 to 2"},
      {unknown + Piece("<0x41>", 0, Kind::kByte), Code::kInvalidArgument,
       "piece 1 '<0x41>': it stands for a byte, and byte_fallback is false"},
      {unknown + Piece("<0x41>", 0, Kind::kByte) + Trainer(Number(35, 1)), Code::kInvalidArgument,
       "byte_fallback is true, and 1 bytes have a piece; expected all 256"},
      {unknown + Piece("<0x4g>", 0, Kind::kByte) + Trainer(Number(35, 1)), Code::kInvalidArgument,
       "piece 1 '<0x4g>': it is a byte's; expected <0x00> to <0xFF>"},
      {unknown + Bytes(5, Bytes(2, "rules")), Code::kUnimplemented, "a denormalizer with rules"},
      {unknown + Normalizer(Bytes(2, "rules")), Code::kInvalidArgument,
       "precompiled_charsmap has 5 bytes"},
      {unknown + Number(2, 1), Code::kInvalidArgument, "field 2 has the wire type 0; expected 2"},
      {unknown + Bytes(1, "a").substr(0, 2), Code::kInvalidArgument,
       "the file ends within a field"},
      {unknown + std::string(11, '\xff'), Code::kInvalidArgument, "more than ten bytes"},
      {unknown + std::string("\x0b"), Code::kInvalidArgument, "a field has the wire type 3"},
  };
  for (const auto& bad : kBad) {
    EXPECT_THAT(MakeSentencePieceTokenizer(bad.model), StatusIs(bad.code, HasSubstr(bad.message)));
  }
}

TEST(SentencePieceTokenizerTest, FilesAreNamed) {
  const TempDir dir;
  EXPECT_THAT(ReadSentencePieceTokenizer(dir.File("none.model")),
              StatusIs(Code::kNotFound, HasSubstr("none.model: no such file")));
  EXPECT_THAT(ReadSentencePieceTokenizer(dir.Write("bad.model", "text")),
              StatusIs(Code::kInvalidArgument, HasSubstr("bad.model: not a SentencePiece model")));
  const std::string good = dir.Write("good.model", Piece("<unk>", 0, Kind::kUnknown));
  EXPECT_THAT(ReadSentencePieceTokenizer(good), test::IsOk());
}

// A damaged file is refused, or is a model that can be used.
void UseIfGood(const std::string& model) {
  const auto tokenizer = MakeSentencePieceTokenizer(model);
  if (!tokenizer.ok()) {
    EXPECT_THAT(tokenizer.status().code(), AnyOf(Code::kInvalidArgument, Code::kUnimplemented));
    EXPECT_THAT(std::string(tokenizer.status().message()), HasSubstr("SentencePiece"));
    return;
  }
  for (const std::string text : {"the cat sat on ½ ①\xff", "日本語の本 a naïve  café"}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const auto tokens, (*tokenizer)->Encode(text));
    EXPECT_THAT(tokens, Each(AllOf(Ge(0), Lt((*tokenizer)->vocabulary()))));
    (*tokenizer)->Decode(tokens);
  }
}

TEST(SentencePieceTokenizerTest, DamagedModelsDoNoHarm) {
  const std::string model = SentencePieceLibrary::Train(
      Corpus(), "--model_type=unigram --vocab_size=60 --normalization_rule_name=nmt_nfkc");
  for (size_t size = 0; size < 3000; ++size) UseIfGood(model.substr(0, size));
  Rng rng(4);
  for (int i = 0; i < 2000; ++i) {
    std::string damaged = model;
    for (int k = 0; k < 3; ++k) {
      // Half of them in the pieces, which are a small part of the file.
      const int64_t reach = i % 2 == 0 ? 1500 : std::ssize(model);
      damaged[static_cast<size_t>(rng.UniformInt(reach))] = static_cast<char>(rng.UniformInt(256));
    }
    UseIfGood(damaged);
  }
}

}  // namespace
}  // namespace tributary
