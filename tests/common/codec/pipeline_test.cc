#include "common/codec/pipeline.h"

#include <string>
#include <vector>

#include "common/codec/codec_registry.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/params.h"
#include "tests/testing/status_matchers.h"

namespace tributary {
namespace {

using test::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::vector<config::Choice> Stages(const std::vector<std::string>& names) {
  std::vector<config::Choice> stages;
  for (const std::string& name : names) stages.push_back({.name = name});
  return stages;
}

TEST(CreateCodecTest, AnEmptyListIsRaw) {
  EXPECT_TRUE(CreateCodec({}).value()->lossless());
  EXPECT_TRUE(CreateCodec(Stages({"raw"})).value()->lossless());
  EXPECT_FALSE(CreateCodec(Stages({"fp16"})).value()->lossless());
}

TEST(CreateCodecTest, RefusesListsThatMakeNoSense) {
  EXPECT_THAT(CreateCodec(Stages({"raw", "fp16"})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both formats of a value")));
  EXPECT_THAT(CreateCodec(Stages({"fp16", "fp16"})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("both formats of a value")));
  EXPECT_THAT(CreateCodec(Stages({"fp61"})),
              StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("fp61"), HasSubstr("'fp16'"))));
}

TEST(CreateCodecTest, RefusesUnknownOptions) {
  EXPECT_THAT(CreateCodec({{.name = "fp16", .options = {{"level", 3}}}}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("level")));
}

}  // namespace
}  // namespace tributary
