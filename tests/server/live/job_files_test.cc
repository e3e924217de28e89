#include "server/live/job_files.h"

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary::test {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;

class JobFilesTest : public ::testing::Test {
 protected:
  JobFilesTest() { Open({.max_bytes = 100}); }

  void Open(JobFiles::Limits limits) {
    auto files = JobFiles::Open(dir_.File("files"), limits);
    ASSERT_THAT(files, IsOk());
    files_ = *std::move(files);
  }
  static FileDigest DigestOf(const std::string& content) {
    return {Sha256::Of(content), content.size()};
  }
  absl::StatusOr<std::string> Read(const FileDigest& name) const {
    auto file = files_->OpenForReading(name);
    if (!file.ok()) return file.status();
    std::string content(name.bytes, '\0');
    const absl::Status read = file->ReadAt(0, content.data(), content.size());
    if (!read.ok()) return read;
    return content;
  }
  size_t FilesOnDisk() const {
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.File("files"))) {
      files += entry.is_regular_file() ? 1 : 0;
    }
    return files;
  }

  TempDir dir_;
  std::unique_ptr<JobFiles> files_;
};

TEST_F(JobFilesTest, PiecesMakeAFileThatCanBeRead) {
  const FileDigest name = DigestOf("abcdefg");
  EXPECT_THAT(files_->Put(name, 0, ""), IsOkAndHolds(0U));
  EXPECT_THAT(files_->Put(name, 0, "abc"), IsOkAndHolds(3U));
  EXPECT_THAT(Read(name), StatusIs(Code::kDataLoss)) << "not whole";
  EXPECT_THAT(files_->Put(name, 3, "defg"), IsOkAndHolds(7U));
  EXPECT_THAT(Read(name), IsOkAndHolds("abcdefg"));
  EXPECT_THAT(files_->Put(name, 0, ""), IsOkAndHolds(7U)) << "it is there already";
  EXPECT_EQ(FilesOnDisk(), 1U);
}

TEST_F(JobFilesTest, APieceFromElsewhereChangesNothingAndTellsWhereToGoOn) {
  const FileDigest name = DigestOf("abcdefg");
  ASSERT_THAT(files_->Put(name, 0, "abc"), IsOkAndHolds(3U));
  EXPECT_THAT(files_->Put(name, 0, "abc"), IsOkAndHolds(3U)) << "sent again";
  EXPECT_THAT(files_->Put(name, 5, "fg"), IsOkAndHolds(3U));
  EXPECT_THAT(files_->Put(name, 3, "defgh"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(files_->Put(name, 3, "defg"), IsOkAndHolds(7U));
  EXPECT_THAT(Read(name), IsOkAndHolds("abcdefg"));
}

TEST_F(JobFilesTest, WhatIsNotWhatItsNameSaysIsThrownAway) {
  const FileDigest name = DigestOf("abcdefg");
  EXPECT_THAT(files_->Put(name, 0, "abcdefG"),
              StatusIs(Code::kInvalidArgument,
                       HasSubstr(absl::StrCat(", not ", Sha256::Of("abcdefg").ToHex()))));
  EXPECT_EQ(FilesOnDisk(), 0U);
  EXPECT_THAT(files_->Put(name, 0, "abcdefg"), IsOkAndHolds(7U)) << "another attempt";
  // The right digest beside another length is another file.
  EXPECT_THAT(files_->Put({name.sha256, 8}, 0, "abcdefgh"), StatusIs(Code::kInvalidArgument));
  EXPECT_THAT(Read({name.sha256, 8}), StatusIs(Code::kDataLoss));
  EXPECT_THAT(Read(name), IsOkAndHolds("abcdefg"));
}

TEST_F(JobFilesTest, FilesThatAreTooLargeOrFindNoRoomLeaveNothing) {
  EXPECT_THAT(files_->Put({Sha256::Of("x"), 101}, 0, "x"),
              StatusIs(Code::kInvalidArgument, HasSubstr("has 101 bytes; at most 100")));
  Open({.max_bytes = 100, .min_free_bytes = uint64_t{1} << 60});
  EXPECT_THAT(files_->Put(DigestOf("x"), 0, "x"),
              StatusIs(Code::kResourceExhausted, HasSubstr("no room for a file of 1 bytes")));
  EXPECT_EQ(FilesOnDisk(), 0U);
}

TEST_F(JobFilesTest, OneThatMovesIsElsewhereAndCanComeAgain) {
  const FileDigest name = DigestOf("model");
  ASSERT_THAT(files_->MoveTo(name, dir_.File("m")), StatusIs(Code::kDataLoss));
  ASSERT_THAT(files_->Put(name, 0, "model"), IsOk());
  ASSERT_THAT(files_->MoveTo(name, dir_.File("m")), IsOk());
  EXPECT_THAT(ReadWholeFile(dir_.File("m")), IsOkAndHolds("model"));
  EXPECT_THAT(files_->Put(name, 0, ""), IsOkAndHolds(0U));
}

TEST_F(JobFilesTest, OnlyWantedOnesAreKept) {
  ASSERT_THAT(files_->Put(DigestOf("wanted"), 0, "wanted"), IsOk());
  ASSERT_THAT(files_->Put(DigestOf("orphan"), 0, "orphan"), IsOk());
  ASSERT_THAT(files_->Put(DigestOf("part"), 0, "pa"), IsOk());
  ASSERT_THAT(files_->KeepOnly({Sha256::Of("wanted")}), IsOk());
  EXPECT_EQ(FilesOnDisk(), 1U);
  EXPECT_THAT(Read(DigestOf("wanted")), IsOkAndHolds("wanted"));
}

TEST_F(JobFilesTest, AnEmptyFileIsAFile) {
  EXPECT_THAT(files_->Put(DigestOf(""), 0, ""), IsOkAndHolds(0U));
  EXPECT_THAT(Read(DigestOf("")), IsOkAndHolds(""));
}

}  // namespace
}  // namespace tributary::test
