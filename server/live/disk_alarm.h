// DiskAlarm: whether the disk has room for work to go on. A decision on figures that others
// measure: no disk and no clock of its own.
#ifndef TRIBUTARY_SERVER_LIVE_DISK_ALARM_H_
#define TRIBUTARY_SERVER_LIVE_DISK_ALARM_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace tributary {

// Thread-compatible.
class DiskAlarm {
 public:
  // What a write that found the disk full waits before it is worth another attempt: it may have
  // wanted more than there will ever be.
  static constexpr absl::Duration kPatience = absl::Seconds(10);

  explicit DiskAlarm(uint64_t min_free_bytes) : min_free_bytes_(min_free_bytes) {}

  // The disk has this much left. On below min_free_bytes; off at or above it, unless a write
  // failed within kPatience. True: it went on or off.
  bool Measured(absl::Time now, uint64_t free_bytes);
  // A write found no room: on, whatever was measured. True: it went on.
  bool WriteFailed(absl::Time now, const absl::Status& why);

  bool on() const { return !reason_.empty(); }
  // "disk full: …"; empty when off.
  const std::string& reason() const { return reason_; }

 private:
  const uint64_t min_free_bytes_;
  std::string reason_;
  absl::Time failed_at_ = absl::InfinitePast();
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_DISK_ALARM_H_
