// Pages as a browser shows them: headless Chromium, driven by check_page.mjs.
#ifndef TRIBUTARY_TESTS_SIMULATOR_REPORT_BROWSER_H_
#define TRIBUTARY_TESTS_SIMULATOR_REPORT_BROWSER_H_

#include <string>

#include "nlohmann/json.hpp"

namespace tributary::test {

// Opens the page as a phone and as a desktop, light and dark. Fails the test if a view has a
// script error or a warning, asks the network for anything, is wider than its window, has a chart
// without data drawn or without a description, or if the switch of the horizontal axis draws
// nothing new. Returns what was found, a list of views. With a name, screenshots stay in the build
// tree: artifacts/<name>-<view>.png.
nlohmann::json OpenInBrowser(const std::string& page, const std::string& name = "");

}  // namespace tributary::test

#endif  // TRIBUTARY_TESTS_SIMULATOR_REPORT_BROWSER_H_
