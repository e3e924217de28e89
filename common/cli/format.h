// How commands write figures and tables for people.
#ifndef TRIBUTARY_COMMON_CLI_FORMAT_H_
#define TRIBUTARY_COMMON_CLI_FORMAT_H_

#include <string>
#include <vector>

#include "absl/time/time.h"

namespace tributary::cli {

// Rows as left-aligned columns two spaces apart; the first row is the heading.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

std::string FormatBytes(double bytes);             // "1.5 MB" (powers of 1000)
std::string FormatSeconds(absl::Duration length);  // "7 s", "2 min 05 s", "3 h 20 min"
std::string FormatPercent(double share);           // "82.4 %"

}  // namespace tributary::cli

#endif  // TRIBUTARY_COMMON_CLI_FORMAT_H_
