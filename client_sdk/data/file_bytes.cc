#include "client_sdk/data/file_bytes.h"

#include <zlib.h>

#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

constexpr size_t kBlock = size_t{1} << 20;

}  // namespace

absl::StatusOr<std::string> ReadFileBytes(const std::string& path, int64_t max_bytes) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return absl::NotFoundError(absl::StrCat(path, ": no such file"));
  }
  // gzread passes through a file that is not gzip.
  const gzFile file =
      std::filesystem::is_regular_file(status) ? gzopen(path.c_str(), "rb") : nullptr;
  if (file == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a file that can be read"));
  }
  gzbuffer(file, kBlock);
  std::string bytes;
  int got = 0;
  do {
    const size_t end = bytes.size();
    bytes.resize(end + kBlock);
    got = gzread(file, bytes.data() + end, kBlock);
    bytes.resize(end + static_cast<size_t>(got > 0 ? got : 0));
  } while (got > 0 && static_cast<int64_t>(bytes.size()) <= max_bytes);
  const bool too_large = static_cast<int64_t>(bytes.size()) > max_bytes;
  // A file that ends in the middle shows only here.
  const int closed = gzclose_r(file);
  if (too_large) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, ": larger than the ", max_bytes, " bytes allowed"));
  }
  if (got < 0 || closed != Z_OK) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": broken or cut-off gzip data"));
  }
  return bytes;
}

}  // namespace tributary
