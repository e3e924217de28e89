// A page: one HTML file that holds its data, its script and its style, and asks for nothing else.
#ifndef TRIBUTARY_SIMULATOR_REPORT_PAGE_H_
#define TRIBUTARY_SIMULATOR_REPORT_PAGE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace tributary::report {

// `data`'s "kind" says which page: "run" or "comparison" (web/src/main.js). No text in `title` or
// `data` can end the element that it stands in. FailedPrecondition: this build has no pages.
absl::StatusOr<std::string> MakePage(absl::string_view title, const nlohmann::json& data);

// The page without title and data, where "@@TITLE@@" and "@@DATA@@" stand. Made from web/ when
// Tributary is built; FailedPrecondition in a build with TRIBUTARY_WITH_PAGES=OFF.
absl::StatusOr<std::string> PageTemplate();

}  // namespace tributary::report

#endif  // TRIBUTARY_SIMULATOR_REPORT_PAGE_H_
