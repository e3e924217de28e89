#include "simulator/report/page.h"

#include <string>

#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/status_matchers.h"

namespace tributary::report {
namespace {

using ::nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

class PageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (absl::IsFailedPrecondition(PageTemplate().status())) {
      GTEST_SKIP() << "this build has no pages";
    }
  }
};

// The data of a page, as a browser would find them.
json DataOf(const std::string& page) {
  const std::vector<std::string> behind =
      absl::StrSplit(page, R"(<script type="application/json" id="data">)");
  const std::vector<std::string> inside = absl::StrSplit(behind.at(1), "</script>");
  return json::parse(inside.at(0), nullptr, /*allow_exceptions=*/false);
}

TEST_F(PageTest, DataComeBackWhateverTheyHold) {
  const json data = {{"a", "</script><!-- <script> ]]>"},
                     {"b", "@@TITLE@@ @@DATA@@ \u2028 \"quoted\" & 'so'"},
                     {"c", {1.5, nullptr, true}}};
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string page, MakePage("x", data));
  EXPECT_EQ(DataOf(page), data);
}

TEST_F(PageTest, TextCannotEndItsElement) {
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string plain, MakePage("x", json::object()));
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string hostile,
                            MakePage("</title><script>a & b", {{"k", "</SCRIPT><img src=x>"}}));
  EXPECT_THAT(hostile, HasSubstr("<title>&lt;/title&gt;&lt;script&gt;a &amp; b</title>"));
  const auto elements = [](const std::string& page) -> std::vector<std::string> {
    return absl::StrSplit(page, '<');
  };
  EXPECT_THAT(elements(hostile), SizeIs(elements(plain).size()));
}

TEST_F(PageTest, BytesThatAreNotUtf8AreReplaced) {
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string page, MakePage("x", {{"dir", "run\xff"}}));
  EXPECT_EQ(DataOf(page)["dir"], "run\ufffd");
}

TEST_F(PageTest, LoadsNothing) {
  TRIB_ASSERT_OK_AND_ASSIGN(const std::string page, MakePage("x", json::object()));
  EXPECT_THAT(page, AllOf(StartsWith("<!doctype html>"), HasSubstr("default-src 'none'"),
                          Not(HasSubstr("<script src")), Not(HasSubstr("@import")),
                          Not(HasSubstr("url(")), Not(HasSubstr("@@"))));
  EXPECT_THAT(page, Not(HasSubstr("sourceMappingURL")));
}

}  // namespace
}  // namespace tributary::report
