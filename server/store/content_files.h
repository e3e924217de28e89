// ContentFiles: byte sequences, float32 vectors above all, in files that are named by what is in
// them.
//
//   <dir>/ab/abcdef….f32      ab…: the SHA-256 of the file's bytes; little-endian float32 values
//
// A name in <dir> always has its whole content: a file is written under a temporary name,
// made durable, then renamed.
#ifndef TRIBUTARY_SERVER_STORE_CONTENT_FILES_H_
#define TRIBUTARY_SERVER_STORE_CONTENT_FILES_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/digest.h"
#include "common/durable_file.h"
#include "common/mutex.h"

namespace tributary {

// Thread-safe. Blocks on disk. Memory beside what is written and read: none.
class ContentFiles {
 public:
  // Creates `dir` if it is not there. `suffix` ends the names.
  static absl::StatusOr<std::unique_ptr<ContentFiles>> Open(std::string dir,
                                                            std::string suffix = ".f32");

  // Durable when it returns; equal bytes share one file. Unavailable: disk full.
  absl::StatusOr<Digest> Put(absl::string_view bytes);
  absl::StatusOr<Digest> Put(absl::Span<const float> values);

  // The file `path`, of this file system, gets the name of its content, durably. InvalidArgument:
  // its SHA-256 is another one; it is removed.
  absl::Status Take(const std::string& path, const Digest& digest);

  // A file for File::ReadAt that stays readable after Remove. DataLoss naming the file: not
  // there, or not of so many bytes.
  absl::StatusOr<File> OpenForReading(const Digest& digest, uint64_t bytes) const;

  // Fills `values` from an open file and compares: DataLoss naming the file. The first time by
  // SHA-256, which the name is; what this process wrote or compared before by XXH3-128, which
  // finds damage as well in a tenth of the time.
  absl::Status Read(const File& file, const Digest& digest, absl::Span<float> values) const;
  // The same for all of its `count` values, block by block in their order.
  absl::Status ReadBlocks(
      const File& file, const Digest& digest, size_t count,
      const std::function<void(size_t first, absl::Span<const float> values)>& take) const;

  absl::Status Remove(const Digest& digest);  // OK if it is not there

  // Removes temporary files and every file whose digest is not in `wanted`; returns how many.
  // Not while Put runs: its file is not wanted yet.
  absl::StatusOr<int64_t> Sweep(const std::set<Digest>& wanted);

  std::string PathOf(const Digest& digest) const;

 private:
  ContentFiles(std::string dir, std::string suffix)
      : dir_(std::move(dir)), suffix_(std::move(suffix)) {}

  class Reading;

  absl::Status Name(const std::string& durable, const Digest& digest) const;
  std::optional<Xxh128> Seen(const Digest& digest) const;
  void Note(const Digest& digest, const Xxh128& content) const;

  const std::string dir_;
  const std::string suffix_;
  std::atomic<int64_t> next_temporary_ = 0;
  mutable Mutex mu_;
  mutable std::map<Digest, Xxh128> seen_ ABSL_GUARDED_BY(mu_);
};

}  // namespace tributary

#endif  // TRIBUTARY_SERVER_STORE_CONTENT_FILES_H_
