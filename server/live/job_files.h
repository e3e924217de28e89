// JobFiles: the files that jobs name (a program, a first model), put piece by piece before the job
// is submitted.
//
//   <dir>/ab/abcdef…        whole: its SHA-256
//   <dir>/abcdef…-7.part    what has come so far, of 7 bytes
#ifndef TRIBUTARY_SERVER_LIVE_JOB_FILES_H_
#define TRIBUTARY_SERVER_LIVE_JOB_FILES_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/digest.h"
#include "common/durable_file.h"
#include "common/mutex.h"
#include "server/store/content_files.h"

namespace tributary {

// A file by what is in it.
struct FileDigest {
  Digest sha256;
  uint64_t bytes = 0;
};

// Thread-safe. Blocks on disk.
class JobFiles {
 public:
  struct Limits {
    uint64_t max_bytes = 0;       // of a file
    uint64_t min_free_bytes = 0;  // of the disk, beside the file
  };

  static absl::StatusOr<std::unique_ptr<JobFiles>> Open(const std::string& dir, Limits limits);

  // Appends `data` if `offset` is where the file ends so far, and answers where it ends then: at
  // `digest.bytes` it is whole, durable and what the digest says. An offset elsewhere changes
  // nothing.
  // InvalidArgument: too many bytes, or another SHA-256, and then all of it is gone.
  // ResourceExhausted: the disk has no room for it.
  absl::StatusOr<uint64_t> Put(const FileDigest& digest, uint64_t offset, absl::string_view data);

  // For File::ReadAt. DataLoss naming the file: not there whole, or not of so many bytes.
  absl::StatusOr<File> OpenForReading(const FileDigest& digest) const;
  // The whole file is `path` from now on, durably; the folder is there. DataLoss as above.
  absl::Status MoveTo(const FileDigest& digest, const std::string& path);

  // Removes all others, and those that are not whole. Not while Put runs.
  absl::Status KeepOnly(const std::set<Digest>& wanted) { return whole_->Sweep(wanted).status(); }

 private:
  JobFiles(std::string dir, Limits limits, std::unique_ptr<ContentFiles> whole)
      : dir_(std::move(dir)), limits_(limits), whole_(std::move(whole)) {}

  absl::Status CheckRoom(const FileDigest& digest) const;

  const std::string dir_;
  const Limits limits_;
  const std::unique_ptr<ContentFiles> whole_;
  Mutex appending_;  // two submissions of one file take turns
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_LIVE_JOB_FILES_H_
