// ParamLayout: the names, shapes and places of a model's tensors in one flat buffer.
//
// Trainable tensors come first, then the buffers (batch-norm statistics, counters), each
// in the order given, without padding:
//
//   [ trainable_0 | trainable_1 | … || buffer_0 | buffer_1 | … ]
//     ^ offset 0                       ^ trainable_size()          ^ size()
//
// so that "everything that is learnt" is one contiguous range: norms, products and server
// rates run over it and can never touch a buffer.
#ifndef TRIBUTARY_COMMON_PARAMS_PARAM_LAYOUT_H_
#define TRIBUTARY_COMMON_PARAMS_PARAM_LAYOUT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/digest.h"

namespace tributary {

enum class TensorKind : uint8_t { kTrainable = 0, kBuffer = 1 };

// Immutable, shared, thread-safe.
class ParamLayout {
 public:
  static constexpr int64_t kMaxSize = int64_t{1} << 40;  // elements

  struct Tensor {
    std::string name;
    std::vector<int64_t> shape;  // empty: a scalar
    TensorKind kind = TensorKind::kTrainable;
    int64_t offset = 0;  // elements from the start of the flat buffer; set by Create
    int64_t size = 0;    // elements; set by Create
  };

  // Sorts trainable tensors before buffers (stable) and computes offsets.
  // InvalidArgument: a name that is empty, repeated, not UTF-8 or "__metadata__" (which
  // safetensors keeps for itself), a negative dimension, more than kMaxSize elements, no
  // tensor at all.
  static absl::StatusOr<std::shared_ptr<const ParamLayout>> Create(std::vector<Tensor> tensors);

  const std::vector<Tensor>& tensors() const { return tensors_; }
  int64_t size() const { return size_; }                      // elements
  int64_t trainable_size() const { return trainable_size_; }  // elements
  int64_t buffer_size() const { return size_ - trainable_size_; }
  // SHA-256 over kinds, names and shapes in order (docs/wire_format.md has the bytes): equal
  // digests, equal layouts.
  const Digest& digest() const { return digest_; }

  const Tensor* Find(absl::string_view name) const;  // nullptr if there is none

  // A compact, versioned text form (JSON) for disk and journal, and back. InvalidArgument
  // for text that is no layout.
  std::string ToJson() const;
  static absl::StatusOr<std::shared_ptr<const ParamLayout>> FromJson(absl::string_view json);

 private:
  ParamLayout() = default;
  std::vector<Tensor> tensors_;
  std::vector<size_t> by_name_;  // indices into tensors_, sorted by name
  int64_t size_ = 0;
  int64_t trainable_size_ = 0;
  Digest digest_;
};

using LayoutPtr = std::shared_ptr<const ParamLayout>;

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_PARAM_LAYOUT_H_
