// BatchStream: a client's examples in batches, shuffled anew for each pass over them.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_BATCH_STREAM_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_BATCH_STREAM_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/rng.h"

namespace tributary {

// Thread-compatible.
class BatchStream {
 public:
  // `indices` is not empty; batch_size >= 1.
  BatchStream(absl::Span<const int32_t> indices, int64_t batch_size, Rng rng);

  // The next batch, valid until the next call. The last of a pass may be smaller; the
  // stream then goes on with a new pass.
  absl::Span<const int32_t> Next();

  int64_t batches_per_pass() const;

 private:
  std::vector<int32_t> indices_;
  const size_t batch_size_;
  Rng rng_;
  size_t next_;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_BATCH_STREAM_H_
