#include "common/durable_file.h"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>

#include "common/clock.h"
#include "common/exhausted.h"
#include "common/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/store/file_size_limit.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;
using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(FileError, CodeTellsWhoCanHelp) {
  EXPECT_THAT(FileError(ENOENT, "open", "/x"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(FileError(EACCES, "open", "/x"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(FileError(EROFS, "write", "/x"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(FileError(ENOSPC, "write", "/x"),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("cannot write /x"), HasSubstr("No space left"))));
}

TEST(FileError, AFullDiskIsToldApartAlsoWithMoreContext) {
  for (const int full : {ENOSPC, EDQUOT}) {
    EXPECT_TRUE(IsDiskFull(FileError(full, "write", "/x")));
    EXPECT_TRUE(IsDiskFull(WithContext(FileError(full, "write", "/x"), "spool")));
  }
  for (const int other : {EIO, ENOENT, EROFS, EFBIG}) {
    EXPECT_FALSE(IsDiskFull(FileError(other, "write", "/x")));
  }
  EXPECT_FALSE(IsDiskFull(absl::OkStatus()));
}

TEST(File, AWriteToAFullDeviceSaysSo) {
  auto full = File::Open("/dev/full", O_WRONLY);
  if (!full.ok()) GTEST_SKIP() << full.status();
  EXPECT_TRUE(IsDiskFull(full->Append("x")));
}

TEST(File, RoomIsKeptWithoutChangingTheFile) {
  const test::TempDir dir;
  const std::string path = dir.File("f");
  TRIB_ASSERT_OK_AND_ASSIGN(File file, File::Open(path, O_RDWR | O_CREAT));
  EXPECT_EQ(DiskBytesOf(path), 0u);
  EXPECT_EQ(DiskBytesOf(dir.File("none")), 0u);
  ASSERT_THAT(file.Append("abc"), IsOk());
  ASSERT_THAT(file.Reserve(1 << 20), IsOk());
  ASSERT_THAT(file.Reserve(0), IsOk());
  EXPECT_THAT(file.Size(), IsOkAndHolds(3U));
  TRIB_ASSERT_OK_AND_ASSIGN(const uint64_t free, FreeDiskBytes(dir.path()));
  EXPECT_GT(free, 0u);
  EXPECT_THAT(file.Reserve(uint64_t{1} << 60), Not(IsOk())) << "there is no such disk";
  EXPECT_THAT(FreeDiskBytes(dir.File("none")), StatusIs(absl::StatusCode::kNotFound));
}

TEST(File, ReadsBackWhatWasWrittenAnywhere) {
  const test::TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(File file, File::Open(dir.File("f"), O_RDWR | O_CREAT));
  ASSERT_THAT(file.Append("hello"), IsOk());
  ASSERT_THAT(file.Append(" world"), IsOk());
  ASSERT_THAT(file.WriteAt(0, "J"), IsOk());
  ASSERT_THAT(file.Sync(), IsOk());
  EXPECT_THAT(file.Size(), IsOkAndHolds(11U));
  std::string middle(5, ' ');
  ASSERT_THAT(file.ReadAt(3, middle.data(), 5), IsOk());
  EXPECT_EQ(middle, "lo wo");
  ASSERT_THAT(file.Truncate(5), IsOk());
  EXPECT_THAT(ReadWholeFile(dir.File("f")), IsOkAndHolds("Jello"));
}

TEST(File, ReadPastTheEndIsDataLoss) {
  const test::TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(const File file, File::Open(dir.Write("f", "abc"), O_RDONLY));
  char out[4];
  EXPECT_THAT(file.ReadAt(0, out, 4),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("ends at byte 3")));
}

TEST(File, FullDiskIsUnavailableAndNamesTheFile) {
  const test::TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(File file, File::Open(dir.File("f"), O_RDWR | O_CREAT));
  const test::FileSizeLimit limit(10);
  EXPECT_THAT(file.Append(std::string(11, 'x')),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr(dir.File("f"))));
  EXPECT_THAT(file.WriteAt(10, "x"), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(File, MovedFromIsNotOpen) {
  const test::TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(File file, File::Open(dir.Write("f", "abc"), O_RDONLY));
  const File moved = std::move(file);
  EXPECT_TRUE(moved.is_open());
  EXPECT_FALSE(file.is_open());  // NOLINT(bugprone-use-after-move)
}

TEST(CreateDirectory, MakesParentsAndMayBeRepeated) {
  const test::TempDir dir;
  const std::string path = dir.File("a/b/c");
  EXPECT_THAT(CreateDirectory(path), IsOk());
  EXPECT_THAT(CreateDirectory(path), IsOk());
  EXPECT_TRUE(std::filesystem::is_directory(path));
  EXPECT_THAT(CreateDirectory(dir.Write("file", "") + "/below"), testing::Not(IsOk()));
}

TEST(WriteFileAtomically, ReplacesAndLeavesNothingBeside) {
  const test::TempDir dir;
  EXPECT_THAT(WriteFileAtomically(dir.File("f"), "one"), IsOk());
  EXPECT_THAT(WriteFileAtomically(dir.File("f"), "two"), IsOk());
  EXPECT_THAT(ReadWholeFile(dir.File("f")), IsOkAndHolds("two"));
  EXPECT_THAT(ListDirectory(dir.path()), IsOkAndHolds(ElementsAre("f")));
}

TEST(WriteFileAtomically, KeepsTheOldContentWhenTheDiskIsFull) {
  const test::TempDir dir;
  ASSERT_THAT(WriteFileAtomically(dir.File("f"), "one"), IsOk());
  const test::FileSizeLimit limit(10);
  EXPECT_THAT(WriteFileAtomically(dir.File("f"), std::string(11, 'x')),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(ReadWholeFile(dir.File("f")), IsOkAndHolds("one"));
}

TEST(ListDirectory, IsSorted) {
  const test::TempDir dir;
  EXPECT_THAT(ListDirectory(dir.path()), IsOkAndHolds(IsEmpty()));
  dir.Write("b", "");
  dir.Write("a/x", "");
  EXPECT_THAT(ListDirectory(dir.path()), IsOkAndHolds(ElementsAre("a", "b")));
  EXPECT_THAT(ListDirectory(dir.File("c")), StatusIs(absl::StatusCode::kNotFound));
}

TEST(RemoveFile, AbsentIsFine) {
  const test::TempDir dir;
  EXPECT_THAT(RemoveFile(dir.Write("f", "x")), IsOk());
  EXPECT_THAT(RemoveFile(dir.File("f")), IsOk());
  EXPECT_THAT(RemoveFile(dir.path()), testing::Not(IsOk()));  // a directory
}

TEST(RemoveFilesOlderThan, LooksAtFilesAloneAndAtTheirLastWrite) {
  const test::TempDir dir;
  dir.Write("old", "x");
  dir.Write("folder/old", "x");
  RealClock clock;
  const absl::Time later = clock.Now() + absl::Hours(1);
  ASSERT_THAT(RemoveFilesOlderThan(dir.path(), clock.Now() - absl::Hours(1)), IsOk());
  EXPECT_THAT(ListDirectory(dir.path()), IsOkAndHolds(ElementsAre("folder", "old")));
  ASSERT_THAT(RemoveFilesOlderThan(dir.path(), later), IsOk());
  EXPECT_THAT(ListDirectory(dir.path()), IsOkAndHolds(ElementsAre("folder")));
  EXPECT_THAT(ListDirectory(dir.File("folder")), IsOkAndHolds(ElementsAre("old")));
  EXPECT_THAT(RemoveFilesOlderThan(dir.File("none"), later), IsOk());
}

}  // namespace
}  // namespace tributary
