// SpoolQuota: who may hold how much of the spool. Counts declared bytes, from the header of an
// upload until it has been combined or dropped.
#ifndef TRIBUTARY_SERVER_LIVE_SPOOL_QUOTA_H_
#define TRIBUTARY_SERVER_LIVE_SPOOL_QUOTA_H_

#include <cstdint>
#include <map>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/ids.h"

namespace tributary {

struct SpoolLimits {
  uint64_t total_bytes = uint64_t{64} << 30;
  uint64_t bytes_per_job = uint64_t{48} << 30;
  uint64_t bytes_per_client = uint64_t{16} << 30;
};

// Thread-compatible.
class SpoolQuota {
 public:
  explicit SpoolQuota(SpoolLimits limits) : limits_(limits) {}

  // OutOfRange: no limit will ever let this through, however empty the spool is.
  absl::Status CheckSize(uint64_t bytes) const;
  // ResourceExhausted, for now; ExhaustedOf names the limit: "spool", "job" or "client".
  absl::Status Take(const JobId& job, const ClientId& client, uint64_t bytes);
  // As Take, for what is on the disk already: whatever the limits are.
  void Count(const JobId& job, const ClientId& client, uint64_t bytes);
  // What Take or Count added.
  void GiveBack(const JobId& job, const ClientId& client, uint64_t bytes);

  uint64_t taken() const { return total_; }

 private:
  const SpoolLimits limits_;
  uint64_t total_ = 0;
  std::map<JobId, uint64_t> by_job_;
  std::map<ClientId, uint64_t> by_client_;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_SPOOL_QUOTA_H_
