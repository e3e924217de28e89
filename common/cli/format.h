// How commands write figures and tables for people.
#ifndef TRIBUTARY_COMMON_CLI_FORMAT_H_
#define TRIBUTARY_COMMON_CLI_FORMAT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace tributary::cli {

// Rows as left-aligned columns two spaces apart; the first row is the heading.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);

std::string FormatBytes(double bytes);             // "1.5 MB" (powers of 1000)
std::string FormatSeconds(absl::Duration length);  // "7 s", "2 min 05 s", "3 h 20 min"
std::string FormatPercent(double share);           // "82.4 %"

// What a job is at.
struct PhaseView {
  absl::string_view phase;    // JobPhaseName; empty: not told
  int64_t contributions = 0;  // that came, and that were asked: while it collects
  int64_t contributions_asked = 0;
  int64_t task = 0;   // being learnt, from 0
  int64_t tasks = 0;  // 0: it does not go from task to task
};
// "task 2 of 5, collecting sketches (3 of 8)", "training", "-".
std::string FormatPhase(const PhaseView& view);

}  // namespace tributary::cli

#endif  // TRIBUTARY_COMMON_CLI_FORMAT_H_
