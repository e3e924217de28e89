#include "server/store/content_files.h"

#include <filesystem>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/store/file_size_limit.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;
using test::IsOkAndHolds;
using test::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Every file below `dir`, by its path in it.
std::vector<std::string> FilesIn(const std::string& dir) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(dir)) {
    if (!entry.is_directory()) files.push_back(entry.path().lexically_relative(dir).string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class ContentFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TRIB_ASSERT_OK_AND_ASSIGN(files_, ContentFiles::Open(dir_.File("params")));
  }

  absl::StatusOr<std::vector<float>> Get(const Digest& digest, size_t count) const {
    TRIB_ASSIGN_OR_RETURN(const File file, files_->OpenForReading(digest, count * sizeof(float)));
    std::vector<float> values(count);
    TRIB_RETURN_IF_ERROR(files_->Read(file, digest, absl::MakeSpan(values)));
    return values;
  }

  test::TempDir dir_;
  std::unique_ptr<ContentFiles> files_;
};

// sha256 of 00 00 80 3f 00 00 20 c0, by sha256sum: pins the name and the bytes.
TEST_F(ContentFilesTest, NameAndBytesAreTheFormat) {
  constexpr char kHex[] = "48943f7a0ea247f8e3c9386d0c5822fe181d323a9289980426638cc4e72a43e1";
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest digest, files_->Put({1.0F, -2.5F}));
  EXPECT_EQ(digest.ToHex(), kHex);
  const std::string name = std::string(kHex).substr(0, 2) + "/" + kHex + ".f32";
  EXPECT_THAT(FilesIn(dir_.File("params")), ElementsAre(name));
  EXPECT_EQ(test::ReadFile(dir_.File("params/" + name)),
            std::string("\x00\x00\x80\x3f\x00\x00\x20\xc0", 8));
}

TEST_F(ContentFilesTest, SizesAroundABlockComeBack) {
  // The last is large: its digest is made on a thread of its own.
  for (const int64_t size : {1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 3 << 18, 3 << 20}) {
    const ParamVector values = test::RandomParams(test::FlatLayout(size), 7);
    TRIB_ASSERT_OK_AND_ASSIGN(const Digest digest, files_->Put(values.values()));
    EXPECT_EQ(digest, values.ComputeDigest());
    TRIB_ASSERT_OK_AND_ASSIGN(const std::vector<float> found, Get(digest, values.values().size()));
    EXPECT_TRUE(absl::Span<const float>(found) == values.values()) << size;
  }
}

TEST_F(ContentFilesTest, EqualValuesShareOneFile) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest first, files_->Put({1, 2, 3}));
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest second, files_->Put({1, 2, 3}));
  EXPECT_EQ(first, second);
  EXPECT_EQ(FilesIn(dir_.File("params")).size(), 1U);
}

TEST_F(ContentFilesTest, DamageIsDataLossAndNamesTheFile) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest digest, files_->Put({1, 2, 3}));
  const std::string path = files_->PathOf(digest);
  const std::string bytes = test::ReadFile(path);
  const auto damaged = StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path));

  std::filesystem::resize_file(path, 11);
  EXPECT_THAT(Get(digest, 3), damaged);
  std::filesystem::resize_file(path, 13);
  EXPECT_THAT(Get(digest, 3), damaged);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    ASSERT_THAT(WriteFileAtomically(path, flipped), IsOk());
    EXPECT_THAT(Get(digest, 3), damaged) << i;
  }
  std::filesystem::remove(path);
  EXPECT_THAT(Get(digest, 3), damaged);

  ASSERT_THAT(files_->Put({1, 2, 3}), IsOk());
  EXPECT_THAT(Get(digest, 3), IsOkAndHolds(ElementsAre(1, 2, 3)));
}

// A process that has neither written nor read the file goes by its name, and then by what it read.
TEST_F(ContentFilesTest, AnotherProcessFindsDamageToo) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest digest, files_->Put({1, 2, 3}));
  const std::string path = files_->PathOf(digest);
  const std::string bytes = test::ReadFile(path);
  std::string flipped = bytes;
  flipped[5] = static_cast<char>(flipped[5] ^ 1);
  const auto damaged = StatusIs(absl::StatusCode::kDataLoss, HasSubstr(path));

  TRIB_ASSERT_OK_AND_ASSIGN(files_, ContentFiles::Open(dir_.File("params")));
  ASSERT_THAT(WriteFileAtomically(path, flipped), IsOk());
  EXPECT_THAT(Get(digest, 3), damaged);
  EXPECT_THAT(Get(digest, 3), damaged) << "what was found damaged is not what is expected now";
  ASSERT_THAT(WriteFileAtomically(path, bytes), IsOk());
  EXPECT_THAT(Get(digest, 3), IsOkAndHolds(ElementsAre(1, 2, 3)));
  ASSERT_THAT(WriteFileAtomically(path, flipped), IsOk());
  EXPECT_THAT(Get(digest, 3), damaged);
}

TEST_F(ContentFilesTest, PutHealsADamagedFile) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest digest, files_->Put({1, 2, 3}));
  std::filesystem::resize_file(files_->PathOf(digest), 4);
  ASSERT_THAT(files_->Put({1, 2, 3}), IsOk());
  EXPECT_THAT(Get(digest, 3), IsOkAndHolds(ElementsAre(1, 2, 3)));
}

TEST_F(ContentFilesTest, FullDiskLeavesNothing) {
  const ParamVector values = test::RandomParams(test::FlatLayout(1000), 7);
  {
    const test::FileSizeLimit limit(1000);
    EXPECT_THAT(files_->Put(values.values()), StatusIs(absl::StatusCode::kUnavailable));
  }
  EXPECT_THAT(FilesIn(dir_.File("params")), IsEmpty());
  EXPECT_THAT(files_->Put(values.values()), IsOk());
}

TEST_F(ContentFilesTest, SweepRemovesWhatIsNotWanted) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest wanted, files_->Put({1}));
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest orphan, files_->Put({2}));
  dir_.Write("params/17.tmp", "half a model");
  dir_.Write("params/" + orphan.ToHex().substr(0, 2) + "/stray", "");
  EXPECT_THAT(files_->Sweep({wanted}), IsOkAndHolds(3));
  EXPECT_THAT(FilesIn(dir_.File("params")),
              ElementsAre(wanted.ToHex().substr(0, 2) + "/" + wanted.ToHex() + ".f32"));
  EXPECT_THAT(files_->Sweep({wanted}), IsOkAndHolds(0));
}

TEST_F(ContentFilesTest, OpenFileOutlivesItsRemoval) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Digest digest, files_->Put({1, 2}));
  TRIB_ASSERT_OK_AND_ASSIGN(const File file, files_->OpenForReading(digest, 2 * sizeof(float)));
  ASSERT_THAT(files_->Remove(digest), IsOk());
  ASSERT_THAT(files_->Remove(digest), IsOk());
  std::vector<float> values(2);
  ASSERT_THAT(files_->Read(file, digest, absl::MakeSpan(values)), IsOk());
  EXPECT_THAT(values, ElementsAre(1, 2));
}

}  // namespace
}  // namespace tributary
