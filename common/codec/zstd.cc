#include "common/codec/zstd.h"

#include <zstd.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tributary {
namespace {

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("zstd: ", what));
}

// Neither a skippable frame nor one of the formats before version 0.8.
bool BeginsAFrame(absl::string_view bytes) {
  uint32_t magic;
  if (bytes.size() < sizeof(magic)) return false;
  std::memcpy(&magic, bytes.data(), sizeof(magic));
  return magic == ZSTD_MAGICNUMBER;
}

}  // namespace

void ZstdOptions::Describe(config::Fields<ZstdOptions>& fields) {
  fields.Add("level", &ZstdOptions::level, "more is smaller and slower").Min(1).Max(19);
}

absl::StatusOr<std::unique_ptr<ZstdCompressor>> ZstdCompressor::Create(const Options& options) {
  return std::unique_ptr<ZstdCompressor>(new ZstdCompressor(static_cast<int>(options.level)));
}

std::string ZstdCompressor::Compress(absl::string_view bytes) const {
  std::string frame(ZSTD_compressBound(bytes.size()), '\0');
  const size_t size = ZSTD_compress(frame.data(), frame.size(), bytes.data(), bytes.size(), level_);
  TRIB_CHECK(ZSTD_isError(size) == 0);
  frame.resize(size);
  return frame;
}

absl::StatusOr<std::string> ZstdCompressor::Decompress(absl::string_view bytes, size_t most) const {
  if (!BeginsAFrame(bytes)) return Bad("the bytes do not begin with a frame");
  const size_t frame = ZSTD_findFrameCompressedSize(bytes.data(), bytes.size());
  if (ZSTD_isError(frame) != 0) return Bad("the frame is not whole");
  if (frame != bytes.size()) {
    return Bad(absl::StrCat(bytes.size() - frame, " bytes after the end of the frame"));
  }
  const unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR) {
    return Bad("the frame does not say how large its content is");
  }
  if (size > most) {
    return Bad(absl::StrCat("the content has ", size, " bytes; allowed are at most ", most));
  }
  std::string content(size, '\0');
  const size_t made = ZSTD_decompress(content.data(), content.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(made) != 0) return Bad(ZSTD_getErrorName(made));
  if (made != size) {
    return Bad(absl::StrCat("the content has ", made, " bytes and not ", size, " as it says"));
  }
  return content;
}

}  // namespace tributary
