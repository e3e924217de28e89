#include "common/log.h"

#include <cmath>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/testing/status_matchers.h"

namespace tributary::log {
namespace {

using test::IsOk;
using test::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override { Configure(Level::kInfo, Format::kText); }
};

TEST_F(LogTest, TextShowsEveryTypeOfField) {
  EXPECT_EQ(FormatLine(Level::kInfo, Format::kText, "update accepted",
                       {{"job", "mnist"},
                        {"bytes", 123},
                        {"loss", 0.5},
                        {"late", false},
                        {"after", absl::Milliseconds(1500)},
                        {"status", absl::NotFoundError("gone")}}),
            "info    update accepted job=mnist bytes=123 loss=0.5 late=false after=1.5s "
            "status=\"NOT_FOUND: gone\"");
}

TEST_F(LogTest, TextKeepsToOneLineAndQuotesWhatCouldMislead) {
  EXPECT_EQ(FormatLine(Level::kError, Format::kText, "two\nlines",
                       {{"a", "x y"}, {"b", "say \"hi\""}, {"c", ""}, {"d", "k=v"}, {"e", "1\n2"}}),
            R"(error   two\nlines a="x y" b="say \"hi\"" c="" d="k=v" e="1\n2")");
}

TEST_F(LogTest, JsonHoldsWhatWasGiven) {
  const std::string message = "quote \" back \\ line\n é";
  const auto json = nlohmann::json::parse(FormatLine(
      Level::kWarning, Format::kJson, message,
      {{"text", message}, {"n", std::numeric_limits<int64_t>::min()}, {"x", 0.1}, {"yes", true}}));
  EXPECT_EQ(json["level"], "warning");
  EXPECT_EQ(json["msg"], message);
  EXPECT_EQ(json["text"], message);
  EXPECT_EQ(json["n"], std::numeric_limits<int64_t>::min());
  EXPECT_EQ(json["x"], 0.1);
  EXPECT_EQ(json["yes"], true);
}

TEST_F(LogTest, JsonStaysJsonForWhatJsonCannotSay) {
  const auto json = nlohmann::json::parse(FormatLine(Level::kInfo, Format::kJson, "bytes \xff",
                                                     {{"nan", std::nan("")}, {"bad", "\xc3("}}));
  EXPECT_EQ(json["nan"], "nan");
  EXPECT_EQ(json["msg"], "bytes \xef\xbf\xbd");
}

TEST_F(LogTest, LinesCarryTheTimeAndGoToStandardError) {
  ::testing::internal::CaptureStderr();
  Info("hello", {{"n", 1}});
  EXPECT_THAT(
      ::testing::internal::GetCapturedStderr(),
      MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+\\.[0-9]+Z info    hello n=1\n"));
  Configure(Level::kInfo, Format::kJson);
  ::testing::internal::CaptureStderr();
  Info("hello %v {}", {{"n", 1}});
  const auto json = nlohmann::json::parse(::testing::internal::GetCapturedStderr());
  EXPECT_EQ(json["msg"], "hello %v {}");
  EXPECT_THAT(json["ts"], MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9:.]+Z"));
}

TEST_F(LogTest, LevelsBelowTheConfiguredOneAreSilent) {
  for (const auto& [level, expected] : {std::pair{Level::kDebug, 4},
                                        {Level::kInfo, 3},
                                        {Level::kWarning, 2},
                                        {Level::kError, 1},
                                        {Level::kOff, 0}}) {
    Configure(level, Format::kText);
    ::testing::internal::CaptureStderr();
    Debug("line");
    Info("line");
    Warning("line");
    Error("line");
    const std::string out = ::testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), expected);
  }
}

TEST_F(LogTest, NamesConfigureAndOthersAreRefused) {
  EXPECT_THAT(ConfigureFromNames("off", "json"), IsOk());
  EXPECT_THAT(ConfigureFromNames("verbose", "text"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("'verbose'"), HasSubstr("debug, info, warning"))));
  EXPECT_THAT(ConfigureFromNames("info", "xml"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("'xml'"), HasSubstr("text, json"))));
}

TEST_F(LogTest, ThreadsDoNotTearLines) {
  ::testing::internal::CaptureStderr();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([] {
        for (int i = 0; i < 200; ++i) Info("message", {{"payload", std::string(100, 'x')}});
      });
    }
  }
  const std::string out = ::testing::internal::GetCapturedStderr();
  int lines = 0;
  for (const absl::string_view line : absl::StrSplit(out, '\n', absl::SkipEmpty())) {
    EXPECT_THAT(std::string(line), MatchesRegex(".*Z info    message payload=x+"));
    ++lines;
  }
  EXPECT_EQ(lines, 800);
}

}  // namespace
}  // namespace tributary::log
