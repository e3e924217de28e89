// Spool: where the bytes of an update go before they are acknowledged. An upload is one
// append-only file; it survives a restart of the coordinator and goes on where it stopped.
//
//   TRIB_ASSIGN_OR_RETURN(auto upload,
//                         spool->Begin({job, work_order, client}, total_bytes, header));
//   TRIB_RETURN_IF_ERROR(upload->Append(upload->size(), chunk));    // …
//   TRIB_ASSIGN_OR_RETURN(uint64_t durable, upload->Sync());        // tell the client
//   TRIB_RETURN_IF_ERROR(upload->Finish());                         // then acknowledge
//
// Files, all under `<dir>/<job>/`:
//   <work_order>.header   the declared size and how much of it has arrived (8 bytes
//                         each, little-endian), the length of the client's id (1 byte), the id,
//                         then the opaque header
//   <work_order>.upload   what has arrived so far, in a file of the declared size; after Finish:
//                         <work_order>.update
//   <work_order>.spare    was an .update, and waits to become an .upload: a file whose blocks and
//                         cached pages are there is written several times as fast as a new one
#ifndef TRIBUTARY_SERVER_LIVE_SPOOL_H_
#define TRIBUTARY_SERVER_LIVE_SPOOL_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/durable_file.h"
#include "common/ids.h"
#include "common/mutex.h"
#include "server/live/spool_quota.h"

namespace tributary {

struct SpoolOptions {
  std::string dir;
  SpoolLimits limits;
  // No upload begins that would leave less than this of the disk.
  uint64_t min_free_bytes = 0;
  // What the disk has left; empty: the file system of `dir` says.
  std::function<absl::StatusOr<uint64_t>()> free_bytes = nullptr;
};

// Whose upload it is.
struct UploadOwner {
  JobId job;
  WorkOrderId work_order = 0;
  ClientId client;
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
// beside those named: InvalidArgument (not a valid id), Unavailable (the disk; IsDiskFull tells
// whether for want of room).
class Spool {
 public:
  struct Entry {
    UploadOwner owner;
    std::string header;
    uint64_t total_bytes = 0;
    bool complete = false;
  };

  // Creates the directory, finds what earlier runs left, removes what is of no use.
  static absl::StatusOr<std::unique_ptr<Spool>> Open(SpoolOptions options);

  // OutOfRange: an upload of this size can never be taken. Does not block.
  absl::Status CheckSize(uint64_t total_bytes) const {
    return SpoolQuota(options_.limits).CheckSize(total_bytes);
  }

  // Starts an upload, or goes on with an interrupted one at its durable size if the owner, the
  // total and the header are equal; if they are not, starts again. `header` is opaque to the
  // spool. The disk keeps room for all of it from here on.
  // AlreadyExists: this upload is complete. With ExhaustedOf, nothing has changed and it may be
  // tried again later: ResourceExhausted "spool", "job", "client" or "disk".
  absl::StatusOr<std::unique_ptr<UploadFile>> Begin(const UploadOwner& owner, uint64_t total_bytes,
                                                    absl::string_view header);

  // A complete upload, open for reading. It stays readable when it is kept; once it is removed,
  // another upload may be written into its file. NotFound; DataLoss: not of the declared size.
  absl::StatusOr<File> OpenPayload(const JobId& job, WorkOrderId work_order) const;

  // All uploads, by job and work order: what a restarted coordinator has to count or to remove.
  absl::StatusOr<std::vector<Entry>> List() const;

  // Moves the payload of a complete upload to `path`, on the same file system, and forgets the
  // upload. OK if there is none.
  absl::Status Keep(const JobId& job, WorkOrderId work_order, const std::string& path);

  // Forget an upload, complete or not, or all of a job. OK if there is none. A large payload's file
  // is kept as a spare for the job's next upload. Spares go when an upload would take them and the
  // uploads past limits.total_bytes, when the disk lacks room, with the job, and at the next start.
  absl::Status Remove(const JobId& job, WorkOrderId work_order);
  absl::Status RemoveJob(const JobId& job);

  uint64_t reserved_bytes() const;  // counted against limits.total_bytes
  // What the disk has left. Spares are removed first where that is less than `wanted` and what is
  // to stay free.
  absl::StatusOr<uint64_t> FreeBytes(uint64_t wanted = 0);
  uint64_t min_free_bytes() const { return options_.min_free_bytes; }

 private:
  using Key = std::pair<JobId, WorkOrderId>;
  using UploadPtr = std::shared_ptr<SpooledUpload>;

  struct Slot {
    UploadPtr upload;
    ClientId client;
    uint64_t reserved_bytes = 0;
  };
  struct Spare {
    std::string path;
    uint64_t bytes = 0;
  };

  explicit Spool(SpoolOptions options) : options_(std::move(options)), quota_(options_.limits) {}
  std::string DirOf(const JobId& job) const;
  absl::Status RecoverJob(const JobId& job);
  absl::Status RecoverUpload(const Key& key, bool complete);
  UploadPtr Find(const Key& key) const;
  void Unreserve(const Key& key);
  // The upload, new or known, with its share of the quota set to `bytes`.
  absl::StatusOr<UploadPtr> Reserve(const UploadOwner& owner, uint64_t bytes);
  absl::Status CheckDisk(uint64_t bytes);
  void KeepSpare(const JobId& job, const SpooledUpload& upload);
  void UseSpare(const JobId& job, const SpooledUpload& upload);
  bool SparesAreTooMuch() const;
  void RemoveSpares(const JobId* job);  // null: of all jobs

  const SpoolOptions options_;
  // An upload's own lock is taken before this one, and held over disk; this one never is.
  mutable Mutex mu_;
  SpoolQuota quota_ ABSL_GUARDED_BY(mu_);
  std::map<Key, Slot> uploads_ ABSL_GUARDED_BY(mu_);
  std::map<JobId, std::vector<Spare>> spares_ ABSL_GUARDED_BY(mu_);
  uint64_t spare_bytes_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_SPOOL_H_
