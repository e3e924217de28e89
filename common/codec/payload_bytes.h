// PayloadBytes: an update's payload, in memory or still in its file. A file stays where it is and
// is read in pieces, so that an update of any size takes no memory of its own.
#ifndef TRIBUTARY_COMMON_CODEC_PAYLOAD_BYTES_H_
#define TRIBUTARY_COMMON_CODEC_PAYLOAD_BYTES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/digest.h"
#include "common/durable_file.h"

namespace tributary {

// Copies of one in a file share the descriptor. Reading is thread-safe.
class PayloadBytes {
 public:
  PayloadBytes(std::string bytes)  // NOLINT(google-explicit-constructor): bytes are bytes
      : memory_(std::move(bytes)), size_(memory_.size()) {}
  // All of `file`, which nobody changes from now on.
  static absl::StatusOr<PayloadBytes> Of(File file);

  uint64_t size() const { return size_; }
  bool in_memory() const { return file_ == nullptr; }
  absl::string_view view() const { return memory_; }  // only in memory

  // Fills `out` from `offset` on. OutOfRange past the end; DataLoss if the disk fails.
  absl::Status Read(uint64_t offset, absl::Span<char> out) const;
  absl::StatusOr<Xxh128> Checksum() const;

  // Cuts off what is behind `size` <= size().
  void Truncate(uint64_t size);
  // The bytes in memory, read if they are not.
  absl::StatusOr<std::string> Take() &&;

 private:
  explicit PayloadBytes(std::shared_ptr<const File> file, uint64_t size)
      : file_(std::move(file)), size_(size) {}

  std::string memory_;
  std::shared_ptr<const File> file_;  // null: in memory
  uint64_t size_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_PAYLOAD_BYTES_H_
