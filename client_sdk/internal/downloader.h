// Download: a version of a model from the server, over a connection that may break anywhere.
#ifndef TRIBUTARY_CLIENT_SDK_INTERNAL_DOWNLOADER_H_
#define TRIBUTARY_CLIENT_SDK_INTERNAL_DOWNLOADER_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "client_sdk/connection.h"
#include "client_sdk/internal/model_cache.h"
#include "client_sdk/internal/retry.h"
#include "client_sdk/internal/uploader.h"
#include "common/codec/version_delta.h"
#include "common/params/param_vector.h"

namespace tributary::sdk {

// `chunk` follows on `received` bytes of `total`, and is as it was sent. DataLoss if not.
absl::Status CheckChunk(const Chunk& chunk, int64_t received, int64_t total);

// Fetches the version, or learns that it is the one in `cache`; puts it there. With `delta`, the
// job's, the server may send what makes it of one in the cache; null: no deltas are taken. After a
// break it goes on at the byte where it stopped. Every chunk is checked against its XXH3, the whole
// against its SHA-256; deltas that do not make the version are logged, and its values fetched.
// Errors: those of the connection that `retry` does not take; OutOfRange if the model is
// larger than `max_model_bytes`; InvalidArgument if the answer makes no sense; DataLoss if the
// whole is wrong three times.
absl::StatusOr<std::shared_ptr<const ParamVector>> Download(Connection& connection,
                                                            const JobId& job, Version version,
                                                            int64_t max_model_bytes,
                                                            const TransferOptions& options,
                                                            ModelCache& cache, Retry& retry,
                                                            const VersionDelta* delta = nullptr);

}  // namespace tributary::sdk

#endif  // TRIBUTARY_CLIENT_SDK_INTERNAL_DOWNLOADER_H_
