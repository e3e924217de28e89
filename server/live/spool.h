// Spool: where the bytes of an update go before they are acknowledged. An upload is one
// append-only file; it survives a restart of the coordinator and goes on where it stopped.
//
//   TRIB_ASSIGN_OR_RETURN(auto upload, spool->Begin(job, work_order, total_bytes, header));
//   TRIB_RETURN_IF_ERROR(upload->Append(upload->size(), chunk));    // …
//   TRIB_ASSIGN_OR_RETURN(uint64_t durable, upload->Sync());        // tell the client
//   TRIB_RETURN_IF_ERROR(upload->Finish());                         // then acknowledge
//
// Files, all under `<dir>/<job>/`:
//   <work_order>.header   the declared size (8 bytes, little-endian), then the opaque header
//   <work_order>.upload   what has arrived so far; after Finish: <work_order>.update
#ifndef TRIBUTARY_SERVER_LIVE_SPOOL_H_
#define TRIBUTARY_SERVER_LIVE_SPOOL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/ids.h"
#include "common/mutex.h"

namespace tributary {

struct SpoolOptions {
  std::string dir;
  // Bound on the declared bytes of all uploads, running and complete.
  uint64_t max_total_bytes = uint64_t{64} << 30;
};

class Spool;
struct SpooledUpload;  // the spool's side of one upload

// The writing end of one upload. A later Begin of the same work order takes the upload
// over: from then on this one answers Aborted. Dropping it keeps what was written.
// Thread-compatible. Must not outlive the spool.
class UploadFile {
 public:
  UploadFile(std::shared_ptr<SpooledUpload> upload, int64_t writer, uint64_t resumed_at);
  ~UploadFile();

  uint64_t size() const { return size_; }              // bytes written: the next offset
  uint64_t durable_bytes() const { return durable_; }  // of them, those that survive a crash

  // OutOfRange unless `offset` is size(); InvalidArgument past the declared total;
  // Unavailable: disk full; size() has not moved.
  absl::Status Append(uint64_t offset, absl::string_view data);
  // Makes everything written durable; returns durable_bytes().
  absl::StatusOr<uint64_t> Sync();
  // The upload is complete and durable when this returns OK. FailedPrecondition while bytes
  // are missing.
  absl::Status Finish();

 private:
  const std::shared_ptr<SpooledUpload> upload_;
  const int64_t writer_;
  uint64_t size_;
  uint64_t durable_;
};

// Thread-safe. Every call blocks on disk: from a pool, never from an event loop. Errors
// beside those named: InvalidArgument (not a valid id), Unavailable (disk full).
class Spool {
 public:
  struct Entry {
    JobId job;
    WorkOrderId work_order = 0;
    std::string header;
    uint64_t size_bytes = 0;
  };

  // Creates the directory, finds what earlier runs left, removes what is of no use.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(SpoolOptions options);

  // Starts an upload, or goes on with an interrupted one at its durable size if the total
  // and the header are equal; if they are not, starts again. `header` is opaque to the spool.
  // AlreadyExists: this upload is complete. ResourceExhausted: over max_total_bytes.
  absl::StatusOr<std::unique_ptr<UploadFile>> Begin(const JobId& job, WorkOrderId work_order,
                                                    uint64_t total_bytes, absl::string_view header);

  // The bytes of a complete upload. NotFound; DataLoss: not of the declared size.
  absl::StatusOr<std::string> ReadPayload(const JobId& job, WorkOrderId work_order) const;

  // The complete uploads, by job and work order: what a restarted coordinator has to count.
  absl::StatusOr<std::vector<Entry>> List() const;

  // Moves the payload of a complete upload to `path`, on the same file system, and forgets the
  // upload. OK if there is none.
  absl::Status Keep(const JobId& job, WorkOrderId work_order, const std::string& path);

  // Forget an upload, complete or not, or all of a job. OK if there is none.
  absl::Status Remove(const JobId& job, WorkOrderId work_order);
  absl::Status RemoveJob(const JobId& job);

  uint64_t reserved_bytes() const;  // counted against max_total_bytes

 private:
  using Key = std::pair<JobId, WorkOrderId>;
  using UploadPtr = std::shared_ptr<SpooledUpload>;

  struct Slot {
    UploadPtr upload;
    uint64_t reserved_bytes = 0;
  };

  explicit Spool(SpoolOptions options) : options_(std::move(options)) {}
  std::string DirOf(const JobId& job) const;
  absl::Status RecoverJob(const JobId& job);
  absl::Status RecoverUpload(const Key& key, bool complete);
  UploadPtr Find(const Key& key) const;
  void Unreserve(const Key& key);
  // The upload, new or known, with its share of the quota set to `bytes`.
  absl::StatusOr<UploadPtr> Reserve(const Key& key, uint64_t bytes);

  const SpoolOptions options_;
  // An upload's own lock is taken before this one, and held over disk; this one never is.
  mutable Mutex mu_;
  uint64_t reserved_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<Key, Slot> uploads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_SPOOL_H_
