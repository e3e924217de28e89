#include "server/operator/transfer.h"

namespace tributary::op {
namespace {

constexpr int kFailuresInARow = 5;
constexpr absl::Duration kPauseAfterFailure = absl::Seconds(1);

}  // namespace

bool IsBrokenTransfer(const absl::Status& status) {
  return status.code() == absl::StatusCode::kUnavailable ||
         status.code() == absl::StatusCode::kDataLoss;
}

bool Patience::TryAgain(const absl::Status& broken, bool progressed, absl::string_view place) {
  failures_ = progressed ? 1 : failures_ + 1;
  if (failures_ == kFailuresInARow) return false;
  console_.err << "the transfer broke at " << place << " (" << broken.message()
               << "); going on from there\n";
  console_.clock.SleepFor(kPauseAfterFailure, {});
  return true;
}

ExitCode FailTransfer(const Console& console, const absl::Status& status) {
  return console.Fail(status, status.code() == absl::StatusCode::kInvalidArgument
                                  ? ExitCode::kFailed
                                  : cli::ExitCodeOf(status));
}

}  // namespace tributary::op
