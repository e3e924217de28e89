// What the tool's downloads have in common: they go on when a stream breaks.
#ifndef TRIBUTARY_SERVER_OPERATOR_TRANSFER_H_
#define TRIBUTARY_SERVER_OPERATOR_TRANSFER_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/operator/console.h"

namespace tributary::op {

// Worth another stream: the line broke, or a chunk came damaged.
bool IsBrokenTransfer(const absl::Status& status);

// How often a broken transfer is taken up again. Thread-compatible.
class Patience {
 public:
  explicit Patience(const Console& console) : console_(console) {}

  // After a pause and a remark, true; false after a few failures in a row without progress.
  // `place`: "byte 17".
  bool TryAgain(const absl::Status& broken, bool progressed, absl::string_view place);

 private:
  const Console& console_;
  int failures_ = 0;
};

// The exit code of a download that failed, and its words. A layout or file of ours that is broken
// is no refused configuration.
ExitCode FailTransfer(const Console& console, const absl::Status& status);

}  // namespace tributary::op

#endif  // TRIBUTARY_SERVER_OPERATOR_TRANSFER_H_
