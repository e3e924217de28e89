#include "client_sdk/torch/batch_stream.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace tributary {

BatchStream::BatchStream(absl::Span<const int32_t> indices, int64_t batch_size, Rng rng)
    : indices_(indices.begin(), indices.end()),
      batch_size_(static_cast<size_t>(batch_size)),
      rng_(std::move(rng)),
      next_(indices_.size()) {
  TRIB_CHECK(!indices_.empty() && batch_size >= 1);
}

absl::Span<const int32_t> BatchStream::Next() {
  if (next_ == indices_.size()) {
    rng_.Shuffle(absl::MakeSpan(indices_));
    next_ = 0;
  }
  const size_t count = std::min(batch_size_, indices_.size() - next_);
  const absl::Span<const int32_t> batch(indices_.data() + next_, count);
  next_ += count;
  return batch;
}

int64_t BatchStream::batches_per_pass() const {
  return static_cast<int64_t>((indices_.size() + batch_size_ - 1) / batch_size_);
}

}  // namespace tributary
