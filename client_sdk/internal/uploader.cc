#include "client_sdk/internal/uploader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/status_macros.h"

namespace tributary::sdk {
namespace {

Xxh128 ChecksumOf(absl::string_view payload) {
  Xxh3Stream stream;
  stream.Update(payload);
  return stream.Value();
}

// OutOfRange is a gap: the server restarted since it was asked, and holds less than it said.
absl::Status GapMeansRetry(const absl::Status& status) {
  return absl::IsOutOfRange(status) ? absl::AbortedError(status.message()) : status;
}

}  // namespace

ChunkSource ChunksFrom(absl::string_view payload, int64_t offset, int64_t max_chunk_bytes,
                       std::shared_ptr<const void> owner) {
  return [payload, offset, max_chunk_bytes,
          owner = std::move(owner)]() mutable -> std::optional<Chunk> {
    const int64_t total = static_cast<int64_t>(payload.size());
    if (offset >= total) return std::nullopt;
    const int64_t size = std::min(max_chunk_bytes, total - offset);
    const absl::string_view data =
        payload.substr(static_cast<size_t>(offset), static_cast<size_t>(size));
    Chunk chunk{.offset = offset, .data = data, .xxh3 = Xxh3(data), .owner = owner};
    offset += size;
    return chunk;
  };
}

absl::StatusOr<UploadAnswer> Upload(Connection& connection, UpdateHeader header,
                                    absl::string_view payload, const TransferOptions& options,
                                    Retry& retry) {
  const int64_t total = static_cast<int64_t>(payload.size());
  header.total_bytes = total;
  header.xxh128 = ChecksumOf(payload);

  int64_t durable = 0;
  bool ask = options.resume;  // how much is durable, before anything is sent
  for (;;) {
    const ChunkSource chunks =
        ask ? ChunkSource([] { return std::nullopt; })
            : [&, next = ChunksFrom(payload, durable, options.max_chunk_bytes, options.owner)] {
                std::optional<Chunk> chunk = next();
                if (chunk && options.progress) options.progress(chunk->offset, total);
                return chunk;
              };
    const absl::StatusOr<UploadAnswer> answer =
        connection.UploadUpdate(header, chunks, options.stop);
    if (!answer.ok()) {
      TRIB_RETURN_IF_ERROR(retry.AfterFailure(GapMeansRetry(answer.status())));
      ask = true;
      continue;
    }
    if (answer->state == UploadAnswer::State::kRetry) {
      const auto full = absl::ResourceExhaustedError(absl::StrCat("put off: ", answer->message));
      TRIB_RETURN_IF_ERROR(
          retry.SleepWithin(answer->retry.min_delay, answer->retry.max_delay, full));
      ask = true;
      continue;
    }
    if (answer->state != UploadAnswer::State::kPartial) {
      if (options.progress) options.progress(total, total);
      return answer;
    }
    if (answer->durable_bytes < 0 || answer->durable_bytes > total) {
      return absl::InternalError(absl::StrCat("the server claims ", answer->durable_bytes,
                                              " durable bytes of an update of ", total));
    }
    const bool progress = answer->durable_bytes > durable;
    durable = answer->durable_bytes;
    if (progress) {
      retry.Succeeded();
    } else if (!ask) {
      TRIB_RETURN_IF_ERROR(retry.AfterFailure(absl::UnavailableError(
          absl::StrCat("the server does not get past byte ", durable, " of ", total))));
    }
    ask = false;
  }
}

}  // namespace tributary::sdk
