// BatchBuffer: room for a batch's inputs and labels, filled again and again.
#ifndef TRIBUTARY_CLIENT_SDK_TORCH_BATCH_BUFFER_H_
#define TRIBUTARY_CLIENT_SDK_TORCH_BATCH_BUFFER_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "client_sdk/data/dataset.h"
#include "client_sdk/torch/torch_include.h"
#include "client_sdk/torch/torch_trainer.h"

namespace tributary {

// Thread-compatible.
class BatchBuffer {
 public:
  BatchBuffer(int64_t capacity, const DataShape& shape) : shape_(shape) {
    std::vector<int64_t> sizes = shape.example_shape;
    sizes.insert(sizes.begin(), capacity);
    inputs_ = at::empty(sizes, shape.tokens ? at::kLong : at::kFloat);
    targets_ = at::empty({capacity * shape.predictions()}, at::kLong);
  }

  bool Holds(int64_t examples, const DataShape& shape) const {
    return examples <= inputs_.size(0) && shape == shape_;
  }

  void Fill(const Dataset& data, absl::Span<const int32_t> indices) {
    size_ = static_cast<int64_t>(indices.size());
    head_ = data.head;
    if (shape_.tokens) {
      data.GatherTokens(indices, inputs_.data_ptr<int64_t>(), targets_.data_ptr<int64_t>());
    } else {
      data.Gather(indices, inputs_.data_ptr<float>(), targets_.data_ptr<int64_t>());
    }
    if (!head_.empty()) targets() -= head_.begin;
  }

  int64_t size() const { return size_; }
  int64_t predictions() const { return size_ * shape_.predictions(); }
  at::Tensor inputs() const { return inputs_.narrow(0, 0, size_); }
  // Classes, counted from the head's first one.
  at::Tensor targets() const { return targets_.narrow(0, 0, predictions()); }
  // The logits of the head's classes.
  at::Tensor OfHead(const at::Tensor& logits) const {
    return head_.empty() ? logits : logits.narrow(1, head_.begin, head_.end - head_.begin);
  }

  // How many predictions have their largest logit at their label.
  int64_t CountCorrect(const at::Tensor& logits) const {
    const at::Tensor rows = logits.contiguous();
    const int64_t classes = rows.size(1);
    const float* row = rows.data_ptr<float>();
    const int64_t* target = targets_.data_ptr<int64_t>();
    int64_t correct = 0;
    for (int64_t i = 0; i < predictions(); ++i, row += classes) {
      correct += std::max_element(row, row + classes) - row == target[i] ? 1 : 0;
    }
    return correct;
  }

 private:
  DataShape shape_;
  at::Tensor inputs_;   // [capacity, example_shape…]
  at::Tensor targets_;  // [capacity · predictions]
  int64_t size_ = 0;
  Dataset::ClassRange head_;
};

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_TORCH_BATCH_BUFFER_H_
