// The compressor "zstd": one frame of Zstandard (RFC 8878) without a dictionary, with the size of
// its content in its header, and nothing after it.
#ifndef TRIBUTARY_COMMON_CODEC_ZSTD_H_
#define TRIBUTARY_COMMON_CODEC_ZSTD_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/codec/stage.h"
#include "common/config/schema.h"

namespace tributary {

struct ZstdOptions {
  int64_t level = 1;

  static void Describe(config::Fields<ZstdOptions>& fields);
};

class ZstdCompressor final : public Compressor {
 public:
  using Options = ZstdOptions;
  static absl::StatusOr<std::unique_ptr<ZstdCompressor>> Create(const Options& options);

  std::string Compress(absl::string_view bytes) const override;
  // Takes any frame that says how large its content is, up to `most`. Beside the content, less
  // than 1 MiB of memory: a frame is decoded in place, whatever window it asks for.
  absl::StatusOr<std::string> Decompress(absl::string_view bytes, size_t most) const override;

 private:
  explicit ZstdCompressor(int level) : level_(level) {}
  const int level_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_ZSTD_H_
