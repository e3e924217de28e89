// ParamVector: a model, or a difference of two models, as one flat float32 buffer that is
// aligned to 64 bytes, with named views into it.
#ifndef TRIBUTARY_COMMON_PARAMS_PARAM_VECTOR_H_
#define TRIBUTARY_COMMON_PARAMS_PARAM_VECTOR_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/digest.h"
#include "common/params/param_layout.h"

namespace tributary {

// Move-only: a copy of a model is never an accident (see Clone). Thread-compatible.
class ParamVector {
 public:
  ParamVector() = default;                 // no layout, no values
  explicit ParamVector(LayoutPtr layout);  // all zero
  // For values that are all written before one is read. Of a large model, what costs is the fault
  // of each page that is touched first: here the caller's threads share them.
  static ParamVector Uninitialized(LayoutPtr layout);
  ParamVector(ParamVector&&) noexcept = default;
  ParamVector& operator=(ParamVector&&) noexcept = default;

  ParamVector Clone() const;

  const LayoutPtr& layout() const { return layout_; }
  bool empty() const { return layout_ == nullptr; }

  absl::Span<float> values();  // [size]: trainable, then buffers
  absl::Span<const float> values() const;
  absl::Span<float> trainable();
  absl::Span<const float> trainable() const;
  absl::Span<float> buffers();
  absl::Span<const float> buffers() const;

  // The values of one tensor, row-major; empty if there is none of that name.
  absl::Span<float> View(absl::string_view name);
  absl::Span<const float> View(absl::string_view name) const;

  // SHA-256 of all the values' little-endian bytes: the model_digest.
  Digest ComputeDigest() const;

 private:
  struct Free {
    void operator()(float* p) const;
  };
  LayoutPtr layout_;
  std::unique_ptr<float[], Free> data_;
};

// OutOfRange naming the tensor and index of the first NaN or infinity. `values` starts at the
// layout's offset 0 and may be shorter than the layout (the trainable part alone).
absl::Status CheckFinite(const ParamLayout& layout, absl::Span<const float> values);

// The same error, for a value found not to be finite at `index` of the flat buffer.
absl::Status NotFiniteError(const ParamLayout& layout, int64_t index, float value);

// Sums run over the spans in index order, in double. Sizes must match.
double SquaredNorm(absl::Span<const float> x);
double Dot(absl::Span<const float> x, absl::Span<const float> y);
void Scale(float factor, absl::Span<float> x);
void AddScaled(float factor, absl::Span<const float> x, absl::Span<float> y);  // y += factor·x

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_PARAMS_PARAM_VECTOR_H_
