#include "client_sdk/data/text_reader.h"

#include <memory>
#include <string>
#include <vector>

#include "client_sdk/data/partition.h"
#include "client_sdk/data/readers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client_sdk/data/sentence_piece_file.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using test::TempDir;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kPlay[] =
    "First Citizen:\nBefore we proceed,\nhear me speak.\n\n"
    "All:\nSpeak, speak.\n\n"
    "First Citizen:\nYou: are all resolved\n\n\n"
    "[A stage direction]\nof two lines\n";

auto Is(const std::string& owner, const std::string& text) {
  return AllOf(Field(&OwnedText::owner, owner), Field(&OwnedText::text, text));
}

DatasetSpec TextSpec(const std::string& path) {
  DatasetSpec spec;
  spec.dataset = "text";
  spec.path = path;
  spec.context = 4;
  spec.test_fraction = 0.25;
  return spec;
}

config::Choice NaturalPartition() {
  config::Choice choice;
  choice.name = "natural";
  return choice;
}

// The windows of all examples, as text.
std::vector<std::string> Windows(const Dataset& data) {
  std::vector<std::string> windows;
  const auto length = static_cast<size_t>(data.example_size() + 1);
  for (size_t start = 0; start < data.tokens.size(); start += length) {
    windows.push_back(
        MakeByteTokenizer()->Decode(absl::MakeConstSpan(data.tokens).subspan(start, length)));
  }
  return windows;
}

TEST(ReadTextsTest, AFolderHasATextForEachFileBelowIt) {
  const TempDir dir;
  dir.Write("b.txt", "bee");
  dir.Write("a/z.txt", "zed");
  dir.Write(".hidden", "no");
  dir.Write(".git/a.txt", "no");
  EXPECT_THAT(ReadTexts(dir.path(), TextOwner::kFile),
              test::IsOkAndHolds(ElementsAre(Is("a/z.txt", "zed"), Is("b.txt", "bee"))));
  EXPECT_THAT(ReadTexts(dir.File("b.txt"), TextOwner::kFile),
              test::IsOkAndHolds(ElementsAre(Field(&OwnedText::text, "bee"))));
}

TEST(ReadTextsTest, APlayHasATextForEachSpeaker) {
  const TempDir dir;
  EXPECT_THAT(
      ReadTexts(dir.Write("play.txt", kPlay), TextOwner::kSpeaker),
      test::IsOkAndHolds(ElementsAre(
          Is("All", "Speak, speak.\n"),
          Is("First Citizen", "Before we proceed,\nhear me speak.\nYou: are all resolved\n"))));
}

TEST(ReadTextsTest, RefusesWhatIsNotThere) {
  using Code = absl::StatusCode;
  const TempDir dir;
  EXPECT_THAT(ReadTexts(dir.path(), TextOwner::kFile),
              StatusIs(Code::kInvalidArgument, HasSubstr("a folder without a file")));
  EXPECT_THAT(ReadTexts(dir.File("none"), TextOwner::kFile),
              StatusIs(Code::kNotFound, HasSubstr("none: no such file")));
  EXPECT_THAT(ReadTexts(dir.Write("prose.txt", "It was a dark night.\n"), TextOwner::kSpeaker),
              StatusIs(Code::kInvalidArgument, HasSubstr("nobody speaks")));
}

TEST(PackWindowsTest, EveryTokenButTheFirstIsPredictedOnceAndTheRestDropped) {
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Dataset data,
      PackWindows({{"a", "0123456789"}, {"short", "xy"}, {"b", "ABCDE"}}, *MakeByteTokenizer(), 4));
  EXPECT_THAT(data.Validate(), IsOk());
  EXPECT_THAT(Windows(data), ElementsAre("01234", "45678", "ABCDE"));
  EXPECT_THAT(data.client_ids, ElementsAre(0, 0, 2));
  EXPECT_EQ(data.num_clients, 3);
  EXPECT_EQ(data.num_classes, 256);
  EXPECT_THAT(data.example_shape, ElementsAre(4));
  EXPECT_THAT(PackWindows({{"a", "0123"}}, *MakeByteTokenizer(), 4),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("context is 4, and the longest text has 4 tokens")));
}

TEST(LoadTextTest, TheEndOfEachOwnersTextIsHeldOut) {
  const TempDir dir;
  dir.Write("texts/a.txt", "0123456789abcdefg");  // four windows of five
  dir.Write("texts/b.txt", "ABCDEFGHI");          // two: half a window rounds up
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(TextSpec(dir.File("texts"))));
  EXPECT_THAT(Windows(*data.train), ElementsAre("01234", "45678", "89abc", "ABCDE"));
  EXPECT_THAT(Windows(*data.test), ElementsAre("cdefg", "EFGHI"));
  EXPECT_THAT(data.train->client_ids, ElementsAre(0, 0, 0, 1));
}

TEST(LoadTextTest, TestTextMayStandInAnotherFile) {
  const TempDir dir;
  DatasetSpec spec = TextSpec(dir.Write("a.txt", "banana bandana"));
  spec.test_fraction.reset();
  spec.test_path = dir.Write("b.txt", "a banana");
  spec.tokens = "characters";
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_EQ(data.train->num_classes, 5);  // space, a, b, d, n
  EXPECT_EQ(data.test->num_classes, 5);
  EXPECT_THAT(data.test->tokens, ElementsAre(1, 0, 2, 1, 4));
  spec.test_path = dir.Write("b.txt", "a cabana");
  EXPECT_THAT(LoadDataset(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("the character 'c' is none")));
}

TEST(LoadTextTest, OwnersOfTestTextAreThoseOfTrainingByName) {
  const TempDir dir;
  for (const char* name :
       {"train/a.txt", "train/b.txt", "train/c.txt", "test/a.txt", "test/c.txt"}) {
    dir.Write(name, "0123456789");
  }
  DatasetSpec spec = TextSpec(dir.File("train"));
  spec.test_fraction.reset();
  spec.test_path = dir.File("test");
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_THAT(data.test->client_ids, ElementsAre(0, 0, 2, 2));
  EXPECT_THAT(data.test->client_names, ElementsAre("a.txt", "b.txt", "c.txt"));
  EXPECT_THAT(data.test->Validate(), IsOk());
  dir.Write("test/d.txt", "0123456789");  // nobody's, so whose the others are says nothing
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData other, LoadDataset(spec));
  EXPECT_EQ(other.test->size(), 6);
  EXPECT_THAT(other.test->client_ids, IsEmpty());
  EXPECT_THAT(other.test->Validate(), IsOk());
}

TEST(LoadTextTest, SpeakersOwnWhatTheySay) {
  const TempDir dir;
  std::string play;
  for (int i = 0; i < 30; ++i) play += kPlay + std::string("\n");
  DatasetSpec spec = TextSpec(dir.Write("play.txt", play));
  spec.owner = "speaker";
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_EQ(data.train->num_clients, 2);
  EXPECT_THAT(data.train->Validate(), IsOk());
  EXPECT_NEAR(static_cast<double>(data.test->size()) /
                  static_cast<double>(data.test->size() + data.train->size()),
              0.25, 0.02);
  TRIB_ASSERT_OK_AND_ASSIGN(const Partition parts,
                            PartitionDataset(*data.train, NaturalPartition(), 2, 1));
  // "Speak, speak.\n" and the line of First Citizen.
  EXPECT_GT(parts[1].size(), 3 * parts[0].size());
}

TEST(LoadTextTest, SentencePiecesAreTheModelsTokens) {
  const TempDir dir;
  DatasetSpec spec = TextSpec(dir.Write("a.txt", "ab ab b a ab ab ab ab ab"));
  spec.tokens = "sentencepiece";
  spec.model = dir.Write("small.model", test::SmallSentencePieceModel());
  TRIB_ASSERT_OK_AND_ASSIGN(const LoadedData data, LoadDataset(spec));
  EXPECT_EQ(data.train->num_classes, 7);
  EXPECT_THAT(data.train->tokens, ElementsAre(6, 6, 2, 4, 2));
  EXPECT_THAT(data.test->tokens, ElementsAre(2, 3, 6, 6, 6));
  TRIB_ASSERT_OK_AND_ASSIGN(const auto tokenizer, TokenizerOf(spec));
  EXPECT_EQ(tokenizer->Decode({6, 6, 2, 4}), "ab ab b");
  spec.model = dir.Write("bad.model", "text");
  EXPECT_THAT(LoadDataset(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad.model: not a")));
}

TEST(LoadTextTest, RefusesASplitThatLeavesASideEmpty) {
  const TempDir dir;
  DatasetSpec spec = TextSpec(dir.Write("a.txt", "012345678"));
  spec.test_fraction = 0.1;
  EXPECT_THAT(LoadDataset(spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("test_fraction is 0.1; of 2 examples that leaves none to test")));
  spec.test_fraction = 0.9;
  EXPECT_THAT(LoadDataset(spec),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("leaves none to train on")));
}

}  // namespace
}  // namespace tributary
