#include "common/params/safetensors.h"

#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace tributary {
namespace {

using test::IsOk;
using test::StatusIs;
using test::TempDir;
using test::TinyLayout;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using Metadata = std::map<std::string, std::string>;

std::string WithLength(const std::string& json, const std::string& data) {
  const uint64_t length = json.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + json + data;
}

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// The header and the values, byte for byte as the format's own library would take them.
TEST(SafetensorsTest, WritesTheGoldenBytes) {
  const TempDir dir;
  const std::string path = dir.File("model.safetensors");
  const ParamVector params =
      test::MakeParams(test::MakeLayout({{.name = "w", .shape = {1, 2}},
                                         {.name = "n", .shape = {}, .kind = TensorKind::kBuffer}}),
                       {1.0F, -2.0F, 3.0F});
  ASSERT_THAT(WriteSafetensors(params, path, {{"format", "pt"}}), IsOk());
  std::string json = R"({"__metadata__":{"format":"pt","tributary.buffers":"[\"n\"]"},)"
                     R"("w":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
                     R"("n":{"dtype":"F32","shape":[],"data_offsets":[8,12]}})";
  while (json.size() % 8 != 0) json += ' ';
  const std::string data("\0\0\x80\x3f\0\0\0\xc0\0\0\x40\x40", 12);
  EXPECT_EQ(test::ReadFile(path), WithLength(json, data));
}

TEST(SafetensorsTest, WhatIsWrittenIsReadToTheBit) {
  const TempDir dir;
  const std::string path = dir.File("model.safetensors");
  const LayoutPtr layout =
      test::MakeLayout({{.name = "z", .shape = {3, 7}},
                        {.name = "empty", .shape = {0, 4}},
                        {.name = "a \"é\\\n", .shape = {100, 100}},
                        {.name = "scalar", .shape = {}},
                        {.name = "mean", .shape = {7}, .kind = TensorKind::kBuffer}});
  ParamVector params = test::RandomParams(layout, 1);
  params.values()[0] = std::numeric_limits<float>::quiet_NaN();
  params.values()[1] = std::numeric_limits<float>::denorm_min();
  ASSERT_THAT(WriteSafetensors(params, path, {{"job", "x \"y\""}}), IsOk());

  Metadata metadata;
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector read, ReadSafetensors(path, &metadata));
  EXPECT_EQ(read.layout()->digest(), layout->digest());
  EXPECT_EQ(read.ComputeDigest(), params.ComputeDigest());
  EXPECT_THAT(metadata, ElementsAre(Pair("job", "x \"y\"")));
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector parsed, ParseSafetensors(test::ReadFile(path)));
  EXPECT_EQ(parsed.ComputeDigest(), params.ComputeDigest());
}

TEST(SafetensorsTest, TheDataStandsAtAMultipleOfEightBytes) {
  for (int64_t n = 1; n < 200'000; n *= 3) {
    const std::string header = SerializeSafetensorsHeader(*test::FlatLayout(n));
    EXPECT_EQ(header.size() % 8, 0U);
    uint64_t length = 0;
    std::memcpy(&length, header.data(), 8);
    EXPECT_EQ(length + 8, header.size());
    EXPECT_EQ(header[8], '{');
    const auto json = nlohmann::json::parse(header.substr(8));
    EXPECT_EQ(json["w"]["data_offsets"], nlohmann::json({0, 4 * n}));
    EXPECT_FALSE(json.contains("__metadata__"));
  }
}

TEST(SafetensorsTest, OtherFloatTypesBecomeFloat32) {
  const std::string json = R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},)"
                           R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[6,10]},)"
                           R"("d":{"dtype":"F64","shape":[2],"data_offsets":[10,26]},)"
                           R"("f":{"dtype":"F32","shape":[1],"data_offsets":[26,30]}})";
  const std::string data = BytesOf<uint16_t>({0x3c00, 0xc000, 0x0001, 0x3f80, 0xc040}) +
                           BytesOf<double>({0.1, -1e300}) + BytesOf<float>({7.0F});
  TRIB_ASSERT_OK_AND_ASSIGN(const ParamVector params, ParseSafetensors(WithLength(json, data)));
  EXPECT_THAT(params.View("h"), ElementsAre(1.0F, -2.0F, 0x1p-24F));
  EXPECT_THAT(params.View("b"), ElementsAre(1.0F, -3.0F));
  EXPECT_THAT(params.View("d"), ElementsAre(0.1F, -std::numeric_limits<float>::infinity()));
  EXPECT_THAT(params.View("f"), ElementsAre(7.0F));
}

TEST(SafetensorsTest, TensorsAreTakenInTheOrderOfTheirDataAndBuffersMovedLast) {
  const std::string json = R"({"__metadata__":{"tributary.buffers":"[\"second\"]","who":"me"},)"
                           R"("third":{"data_offsets":[8,12],"shape":[1],"dtype":"F32"},)"
                           R"("second":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},)"
                           R"("first":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     )";
  Metadata metadata;
  TRIB_ASSERT_OK_AND_ASSIGN(
      const ParamVector params,
      ParseSafetensors(WithLength(json, BytesOf<float>({1, 2, 3})), &metadata));
  EXPECT_THAT(params.trainable(), ElementsAre(1, 3));
  EXPECT_THAT(params.buffers(), ElementsAre(2));
  EXPECT_THAT(metadata, ElementsAre(Pair("who", "me")));
}

struct BadHeader {
  std::string json;
  std::string message;
};

// The data is 8 bytes.
TEST(SafetensorsTest, RefusesHostileHeaders) {
  const std::string good = R"("dtype":"F32","shape":[2],"data_offsets":[0,8])";
  const BadHeader cases[] = {
      {"", "not JSON"},
      {"{", "not JSON"},
      {"[]", "the header cannot be a list"},
      {"1", "the header cannot be the number 1"},
      {"{}", "cover 0 bytes of data, found 8"},
      {"{\"w\":{" + good + "}} x", "not JSON"},
      {"{\"w\":{" + good + "},\"w\":{" + good + "}}", "'w' is repeated"},
      {"{\"w\":[" + good, "'w' cannot be a list"},
      {"{\"w\":3}", "'w' cannot be the number 3"},
      {"{\"w\":null}", "'w' cannot be null"},
      {"{\"w\":{}}", "'w': 'w' needs 'dtype', 'shape' and 'data_offsets'"},
      {R"({"w":{"dtype":"F32","shape":[2]}})", "needs 'dtype'"},
      {"{\"w\":{" + good + ",\"shape\":[2]}}", "'shape' is repeated"},
      {"{\"w\":{" + good + ",\"extra\":1}}", "'extra' allowed are"},
      {R"({"w":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", "'dtype' cannot be the number 4"},
      {R"({"w":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", "'shape' cannot be the number 2"},
      {R"({"w":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "'shape' cannot be a list"},
      {R"({"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "a negative number"},
      {R"({"w":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "a fraction"},
      {R"({"w":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]}})",
       "cannot be the number"},
      {R"({"w":{"dtype":"F32","shape":[9223372036854775807,2],"data_offsets":[0,8]}})",
       "more data than the file"},
      {R"({"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})",
       "more data than the file"},
      {R"({"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", "more data than the file"},
      {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "takes 4 bytes, found 8"},
      {R"({"w":{"dtype":"F32","shape":[2,0],"data_offsets":[0,8]}})", "takes 0 bytes, found 8"},
      {R"({"w":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})",
       "found dtype 'I64', allowed: F32, F16, BF16, F64"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "must be two numbers"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", "cannot be the number 9"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", "must begin at 0"},
      {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "must begin at 0"},
      {R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", "end by 8"},
      {R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "cover 4 bytes"},
      {R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
       R"("v":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "must begin at"},
      {R"({"__metadata__":{"a":1},"w":{)" + good + "}}", "'a' cannot be the number 1"},
      {R"({"__metadata__":{"a":"1","a":"2"},"w":{)" + good + "}}", "'a' is repeated"},
      {R"({"__metadata__":{"tributary.buffers":"w"},"w":{)" + good + "}}", "a JSON list of names"},
      {R"({"__metadata__":{"tributary.buffers":"[\"v\"]"},"w":{)" + good + "}}", "names no tensor"},
      {R"({"__metadata__":{"tributary.buffers":"[3]"},"w":{)" + good + "}}", "names no tensor"},
      {"{\"\":{" + good + "}}", "empty name"},
      {"{\"\xff\":{" + good + "}}", "not JSON"},
      {std::string(100'000, '['), "the header cannot be a list"},
      {"{\"w\":" + std::string(100'000, '{'), ""},
  };
  for (const BadHeader& bad : cases) {
    EXPECT_THAT(ParseSafetensors(WithLength(bad.json, std::string(8, '\0'))),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(bad.message)))
        << bad.json.substr(0, 200);
  }
}

TEST(SafetensorsTest, RefusesEveryTruncationAndAnExtension) {
  const TempDir dir;
  const std::string path = dir.File("m");
  ASSERT_THAT(WriteSafetensors(test::RandomParams(TinyLayout(), 1), path), IsOk());
  const std::string bytes = test::ReadFile(path);
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_THAT(ParseSafetensors(bytes.substr(0, size)),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(ParseSafetensors(bytes + "x"), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(SafetensorsTest, BoundsTheHeadersLengthBeforeItReadsIt) {
  const std::string huge = "\xff\xff\xff\xff\xff\xff\xff\xff{}";
  EXPECT_THAT(ParseSafetensors(huge), StatusIs(absl::StatusCode::kInvalidArgument,
                                               HasSubstr("18446744073709551615 bytes; at most 2")));
}

TEST(SafetensorsTest, FileErrorsHaveTheirCodesAndPaths) {
  const TempDir dir;
  EXPECT_THAT(ReadSafetensors(dir.File("none")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(dir.File("none"))));
  EXPECT_THAT(ReadSafetensors(dir.path()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr(dir.path())));
  EXPECT_THAT(ReadSafetensors(dir.Write("bad", "nothing of the kind")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(dir.File("bad"))));
  EXPECT_THAT(WriteSafetensors(ParamVector(TinyLayout()), dir.File("no/such/folder")),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("no/such/folder")));
}

TEST(SafetensorsFileTest, ReadsOneTensorByItsName) {
  const TempDir dir;
  const ParamVector params = test::RandomParams(TinyLayout(), 1);
  ASSERT_THAT(WriteSafetensors(params, dir.File("m.safetensors")), IsOk());
  TRIB_ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsFile::Open(dir.File("m.safetensors")));
  ASSERT_NE(file->ShapeOf("fc.weight"), nullptr);
  EXPECT_THAT(*file->ShapeOf("fc.weight"), ::testing::ElementsAre(2, 3));
  EXPECT_EQ(file->ShapeOf("fc"), nullptr);
  std::vector<float> values(6);
  EXPECT_THAT(file->Read("fc.weight", absl::MakeSpan(values)), IsOk());
  EXPECT_THAT(values, ::testing::ElementsAreArray(params.View("fc.weight")));
  EXPECT_THAT(file->Read("fc.bias", absl::MakeSpan(values)),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("'fc.bias' has 2 values; expected 6")));
  EXPECT_THAT(file->Read("fc", absl::MakeSpan(values)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no tensor 'fc'")));
  EXPECT_THAT(SafetensorsFile::Open(dir.File("none")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr(dir.File("none"))));
  EXPECT_THAT(SafetensorsFile::Open(dir.Write("bad", "nothing of the kind")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(dir.File("bad"))));
}

TEST(SafetensorsTest, WritingReplacesTheFileAndLeavesNoOther) {
  const TempDir dir;
  const std::string path = dir.Write("m.safetensors", "old");
  ASSERT_THAT(WriteSafetensors(test::RandomParams(TinyLayout(), 1), path), IsOk());
  EXPECT_THAT(ReadSafetensors(path), IsOk());
  // A failed write (the target is a folder) leaves nothing behind either.
  std::filesystem::create_directory(dir.File("folder"));
  EXPECT_THAT(WriteSafetensors(ParamVector(TinyLayout()), dir.File("folder")),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, ::testing::UnorderedElementsAre("m.safetensors", "folder"));
}

}  // namespace
}  // namespace tributary
