#include "server/live/disk_alarm.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace tributary {

bool DiskAlarm::Measured(absl::Time now, uint64_t free_bytes) {
  const bool was_on = on();
  if (free_bytes < min_free_bytes_) {
    reason_ = absl::StrCat("disk full: ", free_bytes, " bytes free, at least ", min_free_bytes_,
                           " (limits.min_free_bytes)");
  } else if (now - failed_at_ >= kPatience) {
    reason_.clear();
  }
  return on() != was_on;
}

bool DiskAlarm::WriteFailed(absl::Time now, const absl::Status& why) {
  failed_at_ = now;
  if (on()) return false;
  reason_ = absl::StrCat("disk full: ", why.message());
  return true;
}

}  // namespace tributary
