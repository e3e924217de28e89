#include "simulator/report/page.h"

#include "absl/strings/str_replace.h"
#include "common/status_macros.h"

namespace tributary::report {

absl::StatusOr<std::string> MakePage(absl::string_view title, const nlohmann::json& data) {
  TRIB_ASSIGN_OR_RETURN(const std::string page, PageTemplate());
  using Json = nlohmann::json;
  const std::string text = data.dump(-1, ' ', false, Json::error_handler_t::replace);
  const std::string safe_data = absl::StrReplaceAll(text, {{"<", "\\u003c"}});
  const std::string safe_title =
      absl::StrReplaceAll(title, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}});
  return absl::StrReplaceAll(page, {{"@@TITLE@@", safe_title}, {"@@DATA@@", safe_data}});
}

}  // namespace tributary::report
