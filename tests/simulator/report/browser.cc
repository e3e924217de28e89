#include "tests/simulator/report/browser.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/testing/subprocess.h"

namespace tributary::test {
namespace {

using ::nlohmann::json;

// A line of the smallest chart has more.
constexpr int kFewestPixels = 60;

void CheckView(const json& view) {
  SCOPED_TRACE(view["view"].get<std::string>());
  EXPECT_EQ(view["errors"], json::array());
  EXPECT_EQ(view["requests"], json::array()) << "the page must be complete";
  EXPECT_LE(view["scroll_width"].get<int>(), view["width"].get<int>());
  EXPECT_GT(view["charts"].size(), 0U);
  for (const json& chart : view["charts"]) {
    EXPECT_GE(chart["coloured"].get<int>(), kFewestPixels) << chart["title"];
    EXPECT_FALSE(chart["label"].get<std::string>().empty()) << chart["title"];
  }
  EXPECT_TRUE(view["switch_redraws"].get<bool>());
  EXPECT_TRUE(view["switch_restores"].get<bool>());
  EXPECT_FALSE(view["marked"].get<bool>()) << "text of a file has run as a script";
}

}  // namespace

json OpenInBrowser(const std::string& page, const std::string& name) {
  std::filesystem::create_directories(TRIBUTARY_ARTIFACTS);
  const Completed run =
      RunToEnd({TRIBUTARY_NODE, TRIBUTARY_CHECK_PAGE, TRIBUTARY_NODE_MODULES, TRIBUTARY_CHROMIUM,
                page, name.empty() ? "" : absl::StrCat(TRIBUTARY_ARTIFACTS, "/", name)});
  EXPECT_EQ(run.exit, Exit{.code = 0}) << run.err;
  json views = json::parse(run.out, nullptr, /*allow_exceptions=*/false);
  if (!views.is_array()) views = json::array();
  EXPECT_EQ(views.size(), 4U) << run.out;
  for (const json& view : views) CheckView(view);
  return views;
}

}  // namespace tributary::test
