// Reads a whole file, plain or gzip, within a bound.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_FILE_BYTES_H_
#define TRIBUTARY_CLIENT_SDK_DATA_FILE_BYTES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace tributary {

// The file's bytes, unpacked if they are gzip. NotFound: no such file. InvalidArgument: not a
// file, unreadable, or broken gzip. ResourceExhausted: more than `max_bytes` unpacked.
absl::StatusOr<std::string> ReadFileBytes(const std::string& path, int64_t max_bytes);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_FILE_BYTES_H_
