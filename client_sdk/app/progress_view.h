// ProgressView: what a client is doing, for people: one line that renews itself on a
// terminal, log lines otherwise.
#ifndef TRIBUTARY_CLIENT_SDK_APP_PROGRESS_VIEW_H_
#define TRIBUTARY_CLIENT_SDK_APP_PROGRESS_VIEW_H_

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "client_sdk/client_options.h"
#include "common/clock.h"

namespace tributary {

// "train fashion v12  [#####-----]  training 25/50 steps": the line for an event of work
// under way; without the bar while the total is not known.
std::string ProgressLine(const ClientEvent& event);

// Thread-compatible. `out` and `clock` outlive it.
class ProgressView {
 public:
  // `live`: `out` is a terminal.
  ProgressView(std::ostream* out, bool live, Clock* clock);
  ~ProgressView();  // leaves the terminal with a clean line

  void Show(const ClientEvent& event);

  // Results that the server counted so far.
  int64_t updates() const { return updates_; }
  int64_t evaluations() const { return evaluations_; }

 private:
  void Redraw(const std::string& line);
  void Log(const ClientEvent& event) const;

  std::ostream* const out_;
  const bool live_;
  Clock* const clock_;
  absl::Time last_drawn_ = absl::InfinitePast();
  bool line_shown_ = false;
  int64_t updates_ = 0;
  int64_t evaluations_ = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_APP_PROGRESS_VIEW_H_
