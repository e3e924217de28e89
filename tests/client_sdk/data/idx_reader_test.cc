#include <zlib.h>

#include <string>

#include "client_sdk/data/readers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::StatusIs;
using test::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kImages(
    "\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x03"
    "abcdef",
    22);
const std::string kLabels("\0\0\x08\x01\0\0\0\x02\x04\x01", 10);

void WriteGzip(const std::string& path, const std::string& content) {
  const gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, content.data(), static_cast<unsigned>(content.size())),
            static_cast<int>(content.size()));
  ASSERT_EQ(gzclose(file), Z_OK);
}

TEST(ReadIdxTest, ReadsPlainFiles) {
  const TempDir dir;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const Dataset data, ReadIdx(dir.Write("images", kImages), dir.Write("labels", kLabels), 10));
  EXPECT_THAT(data.example_shape, ElementsAre(1, 1, 3));
  EXPECT_THAT(data.pixels, ElementsAre('a', 'b', 'c', 'd', 'e', 'f'));
  EXPECT_THAT(data.labels, ElementsAre(4, 1));
  EXPECT_EQ(data.num_classes, 10);
}

TEST(ReadIdxTest, ReadsGzip) {
  const TempDir dir;
  WriteGzip(dir.File("images.gz"), kImages);
  WriteGzip(dir.File("labels.gz"), kLabels);
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data,
                            ReadIdx(dir.File("images.gz"), dir.File("labels.gz"), 10));
  EXPECT_THAT(data.labels, ElementsAre(4, 1));
}

TEST(ReadIdxTest, CutOffGzipIsRefused) {
  const TempDir dir;
  WriteGzip(dir.File("images.gz"), kImages);
  const std::string whole = test::ReadFile(dir.File("images.gz"));
  const std::string cut = dir.Write("cut.gz", whole.substr(0, whole.size() - 6));
  EXPECT_THAT(ReadIdx(cut, dir.Write("labels", kLabels), 10),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cut.gz")));
}

TEST(ReadIdxTest, NoSuchFile) {
  EXPECT_THAT(ReadIdx("/nowhere/images", "/nowhere/labels", 10),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/images")));
}

TEST(ReadIdxTest, AFolderIsNoFile) {
  const TempDir dir;
  EXPECT_THAT(ReadIdx(dir.path(), dir.path(), 10),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a file")));
}

TEST(ReadIdxTest, LabelsInPlaceOfImages) {
  const TempDir dir;
  const std::string labels = dir.Write("labels", kLabels);
  EXPECT_THAT(ReadIdx(labels, labels, 10),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("00000803")));
}

TEST(ReadIdxTest, FewerValuesThanTheHeaderSays) {
  const TempDir dir;
  const std::string images = dir.Write("images", kImages.substr(0, 20));
  EXPECT_THAT(ReadIdx(images, dir.Write("labels", kLabels), 10),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("4 bytes of values; its header says 6")));
}

TEST(ReadIdxTest, DimensionsThatOverflowAreRefusedBeforeAllocating) {
  const TempDir dir;
  std::string images = kImages;
  images.replace(4, 12, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF");
  EXPECT_THAT(ReadIdx(dir.Write("images", images), dir.Write("labels", kLabels), 10),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("dimension")));
}

TEST(ReadIdxTest, CountsThatDisagree) {
  const TempDir dir;
  const std::string labels = dir.Write("labels", std::string("\0\0\x08\x01\0\0\0\x01\x04", 9));
  EXPECT_THAT(ReadIdx(dir.Write("images", kImages), labels, 10),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("1 labels for the 2 images")));
}

TEST(ReadIdxTest, LabelOutOfRange) {
  const TempDir dir;
  EXPECT_THAT(ReadIdx(dir.Write("images", kImages), dir.Write("labels", kLabels), 4),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("labels: example 0: label 4 is out of range [0, 4)")));
}

}  // namespace
}  // namespace tributary
