// Patterns that choose tensors by name: "fc*.weight", "heads.*".
#ifndef TRIBUTARY_COMMON_PARAMS_NAME_PATTERN_H_
#define TRIBUTARY_COMMON_PARAMS_NAME_PATTERN_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace tributary {

// Whether the whole name matches: '*' stands for any characters, none included, '?' for one.
bool MatchesPattern(absl::string_view pattern, absl::string_view name);
bool MatchesAny(const std::vector<std::string>& patterns, absl::string_view name);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_NAME_PATTERN_H_
