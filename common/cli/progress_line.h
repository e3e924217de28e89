// ProgressLine: shows how far a job is: one line that is redrawn on a terminal, a new line
// now and then elsewhere.
//
//   [############------------]  12/24  accuracy 81.3 %  loss 0.5123  updates 60  ETA 14 s
#ifndef TRIBUTARY_COMMON_CLI_PROGRESS_LINE_H_
#define TRIBUTARY_COMMON_CLI_PROGRESS_LINE_H_

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "common/clock.h"

namespace tributary::cli {

struct JobView {
  int64_t version = -1;                  // newest published; -1: none
  std::optional<int64_t> stop_versions;  // absent: the job stops at something else
  std::optional<double> accuracy;        // of the newest evaluation
  std::optional<double> loss;
  int64_t updates = 0;
  int64_t lost = 0;
  std::string state;               // "running", …; told when it is not that
  std::string phase = "training";  // FormatPhase; of a running job told when it is not that
  std::string note;                // anything more, at the end
};

// Thread-compatible.
class ProgressLine {
 public:
  // `out` and `clock` outlive this. `terminal`: lines may be redrawn.
  ProgressLine(std::ostream& out, bool terminal, const Clock& clock);
  ~ProgressLine() { Finish(); }

  // On a terminal at most ten times a second; elsewhere only when something changed, and at
  // most every `interval`. The last state is always shown, by Finish.
  void Show(const JobView& job);
  // Ends the line, so that what follows starts a new one.
  void Finish();

  static std::string Text(const JobView& job, std::optional<absl::Duration> eta);

 private:
  std::optional<absl::Duration> TimeLeft(const JobView& job, absl::Time now);
  void Print(const std::string& text);

  std::ostream& out_;
  const bool terminal_;
  const Clock& clock_;
  const absl::Duration interval_;
  absl::Time last_at_ = absl::InfinitePast();
  std::string printed_;                   // what stands there now
  std::string pending_;                   // newer than that, held back
  std::optional<int64_t> first_version_;  // the pace since then gives the time left
  absl::Time first_at_;
};

}  // namespace tributary::cli

#endif  // TRIBUTARY_COMMON_CLI_PROGRESS_LINE_H_
