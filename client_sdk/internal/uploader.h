// Upload: an update to the server, over a connection that may break anywhere.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_UPLOADER_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_UPLOADER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client_sdk/connection.h"
#include "client_sdk/internal/retry.h"

namespace tributary::sdk {

// The pieces of `payload` from `offset` on, each of at most `max_chunk_bytes` >= 1 with its
// checksum. `payload` outlives the source; `owner` as Chunk's.
ChunkSource ChunksFrom(absl::string_view payload, int64_t offset, int64_t max_chunk_bytes,
                       std::shared_ptr<const void> owner = nullptr);

// How a transfer is to be done.
struct TransferOptions {
  int64_t max_chunk_bytes = 1 << 20;  // uploads only
  bool resume = false;                // uploads only: ask how much is durable before sending
  std::stop_token stop;
  std::shared_ptr<const void> owner = nullptr;  // uploads only: of the payload, as Chunk's
  // Bytes transferred so far and in all; called on the caller's thread. May be empty.
  std::function<void(int64_t done, int64_t total)> progress;
};

// Sends `payload` until the server accepts or refuses it; fills in the header's total_bytes
// and xxh128. After a break it asks how much is durable and goes on from there, also when
// that is less than before. While the server has no room it waits as the server says, and asks
// again. Returns the last answer, which accepts or refuses. Errors: those of
// the connection that `retry` does not take; Internal if the server's count makes no sense.
absl::StatusOr<UploadAnswer> Upload(Connection& connection, UpdateHeader header,
                                    absl::string_view payload, const TransferOptions& options,
                                    Retry& retry);

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_UPLOADER_H_
