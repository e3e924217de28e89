#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
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

// As numpy.save writes it.
template <typename T>
std::string Npy(const std::string& type, const std::string& shape, const std::vector<T>& values,
                const std::string& fortran = "False", char version = 1) {
  std::string header = absl::StrCat("{'descr': '", type, "', 'fortran_order': ", fortran,
                                    ", 'shape': ", shape, ", }");
  const size_t prefix = version == 1 ? 10 : 12;
  while ((prefix + header.size() + 1) % 64 != 0) header.push_back(' ');
  header.push_back('\n');
  std::string bytes = absl::StrCat("\x93NUMPY", std::string(1, version), std::string(1, '\0'));
  const auto length = static_cast<uint32_t>(header.size());
  bytes.append(reinterpret_cast<const char*>(&length), version == 1 ? 2 : 4);
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return bytes;
}

absl::StatusOr<Dataset> Read(const std::string& features, const std::string& labels,
                             std::optional<int64_t> num_classes = std::nullopt) {
  const TempDir dir;
  return ReadNpy(dir.Write("x.npy", features), dir.Write("y.npy", labels), num_classes);
}

const std::string kLabels = Npy<int64_t>("<i8", "(2,)", {1, 0});

TEST(ReadNpyTest, ReadsEveryType) {
  for (const std::string& features :
       {Npy<float>("<f4", "(2, 2)", {1, 2, 3, 4}), Npy<double>("<f8", "(2, 2)", {1, 2, 3, 4}),
        Npy<int32_t>("<i4", "(2, 2)", {1, 2, 3, 4}),
        Npy<int64_t>("<i8", "(2, 2)", {1, 2, 3, 4}, "False", 2)}) {
    TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data, Read(features, kLabels));
    EXPECT_THAT(data.features, ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(data.example_shape, ElementsAre(2));
    EXPECT_THAT(data.labels, ElementsAre(1, 0));
    EXPECT_EQ(data.num_classes, 2);
  }
}

TEST(ReadNpyTest, BytesStayBytesAndGreyImagesGetAChannel) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset data,
                            Read(Npy<uint8_t>("|u1", "(2, 1, 3)", {1, 2, 3, 4, 5, 255}),
                                 Npy<uint8_t>("|u1", "(2,)", {6, 1})));
  EXPECT_THAT(data.pixels, ElementsAre(1, 2, 3, 4, 5, 255));
  EXPECT_THAT(data.example_shape, ElementsAre(1, 1, 3));
  EXPECT_EQ(data.num_classes, 7);
}

TEST(ReadNpyTest, OtherShapes) {
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset single, Read(Npy<float>("<f4", "(2,)", {1, 2}), kLabels));
  EXPECT_THAT(single.example_shape, ElementsAre(1));
  TRIB_ASSERT_OK_AND_ASSIGN(const Dataset colour,
                            Read(Npy<uint8_t>("|u1", "(2, 3, 1, 1)", {1, 2, 3, 4, 5, 6}), kLabels));
  EXPECT_THAT(colour.example_shape, ElementsAre(3, 1, 1));
}

struct BadNpy {
  const char* name;
  std::string features;
  std::string labels;
  const char* message;
};

class BadNpyTest : public ::testing::TestWithParam<BadNpy> {};

TEST_P(BadNpyTest, IsRefused) {
  EXPECT_THAT(Read(GetParam().features, GetParam().labels, 2),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

const std::string kFeatures = Npy<float>("<f4", "(2, 1)", {1, 2});

INSTANTIATE_TEST_SUITE_P(
    All, BadNpyTest,
    ::testing::Values(
        BadNpy{"NotNpy", "hello, this is text", kLabels, "x.npy: not an npy file"},
        BadNpy{"Empty", "", kLabels, "not an npy file"},
        BadNpy{"CutHeader", kFeatures.substr(0, 40), kLabels, "cut off in its header"},
        BadNpy{"CutValues", kFeatures.substr(0, kFeatures.size() - 1), kLabels,
               "holds 7 bytes of values; its shape (2, 1) of f4 takes 8"},
        BadNpy{"Fortran", Npy<float>("<f4", "(2, 1)", {1, 2}, "True"), kLabels, "expected C order"},
        BadNpy{"BigEndian", Npy<float>(">f4", "(2, 1)", {1, 2}), kLabels, "'>f4' is not read"},
        BadNpy{"HugeShape", Npy<float>("<f4", "(99999999, 99999999)", {1}), kLabels, "99999999"},
        BadNpy{"ZeroDimension", Npy<float>("<f4", "(0, 1)", {}), kLabels, "dimension '0'"},
        BadNpy{"Scalar", Npy<float>("<f4", "()", {1}), kLabels, "single value"},
        BadNpy{"NotFinite",
               Npy<float>("<f4", "(2, 1)", {1, std::numeric_limits<float>::infinity()}), kLabels,
               "example 1, value 0: found inf"},
        BadNpy{"CountsDisagree", Npy<float>("<f4", "(3, 1)", {1, 2, 3}), kLabels,
               "2 labels for the 3 examples"},
        BadNpy{"FloatLabels", kFeatures, Npy<float>("<f4", "(2,)", {1, 0}),
               "y.npy: labels must be integers"},
        BadNpy{"LabelMatrix", kFeatures, Npy<int64_t>("<i8", "(2, 1)", {1, 0}), "of shape (2, 1)"},
        BadNpy{"LabelTooLarge", kFeatures, Npy<int64_t>("<i8", "(2,)", {0, 2}),
               "y.npy: example 1: label 2 is out of range [0, 2)"},
        BadNpy{"LabelNegative", kFeatures, Npy<int32_t>("<i4", "(2,)", {-1, 1}),
               "label -1 is out of range"}),
    [](const auto& row) { return row.param.name; });

TEST(ReadNpyTest, EveryCutOffFileIsRefused) {
  for (size_t length = 0; length < kFeatures.size(); ++length) {
    EXPECT_THAT(Read(kFeatures.substr(0, length), kLabels),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << length;
  }
}

TEST(ReadNpyTest, AnAbsurdLabelIsNotTakenForACountOfClasses) {
  EXPECT_THAT(Read(kFeatures, Npy<int64_t>("<i8", "(2,)", {0, int64_t{1} << 60})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("largest label")));
}

}  // namespace
}  // namespace tributary
