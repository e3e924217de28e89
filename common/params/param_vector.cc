#include "common/params/param_vector.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tributary {
namespace {

constexpr size_t kAlignment = 64;

float* Allocate(size_t count) {
  // aligned_alloc wants a multiple of the alignment; never zero, so that it is never null.
  const size_t bytes = (count * sizeof(float) / kAlignment + 1) * kAlignment;
  auto* p = static_cast<float*>(std::aligned_alloc(kAlignment, bytes));
  TRIB_CHECK(p != nullptr);
  return p;
}

template <typename T>
absl::Span<T> ViewOf(const LayoutPtr& layout, absl::Span<T> values, absl::string_view name) {
  const ParamLayout::Tensor* tensor = layout == nullptr ? nullptr : layout->Find(name);
  if (tensor == nullptr) return {};
  return values.subspan(static_cast<size_t>(tensor->offset), static_cast<size_t>(tensor->size));
}

// NaN and infinity are the values whose exponent bits are all one.
bool IsFinite(float x) { return (~std::bit_cast<uint32_t>(x) & 0x7f800000U) != 0; }

bool AllFinite(const float* x, size_t count) {
  uint32_t bad = 0;
  for (size_t i = 0; i < count; ++i) bad |= IsFinite(x[i]) ? 0U : 1U;
  return bad == 0;
}

}  // namespace

void ParamVector::Free::operator()(float* p) const { std::free(p); }

ParamVector::ParamVector(LayoutPtr layout) : ParamVector(Uninitialized(std::move(layout))) {
  std::ranges::fill(values(), 0.0F);
}

ParamVector ParamVector::Uninitialized(LayoutPtr layout) {
  TRIB_CHECK(layout != nullptr);
  ParamVector vector;
  vector.data_.reset(Allocate(static_cast<size_t>(layout->size())));
  vector.layout_ = std::move(layout);
  return vector;
}

ParamVector ParamVector::Clone() const {
  if (empty()) return {};
  ParamVector copy = Uninitialized(layout_);
  std::ranges::copy(values(), copy.values().begin());
  return copy;
}

absl::Span<float> ParamVector::values() {
  return {data_.get(), empty() ? 0 : static_cast<size_t>(layout_->size())};
}
absl::Span<const float> ParamVector::values() const {
  return {data_.get(), empty() ? 0 : static_cast<size_t>(layout_->size())};
}
absl::Span<float> ParamVector::trainable() {
  return values().first(empty() ? 0 : static_cast<size_t>(layout_->trainable_size()));
}
absl::Span<const float> ParamVector::trainable() const {
  return values().first(empty() ? 0 : static_cast<size_t>(layout_->trainable_size()));
}
absl::Span<float> ParamVector::buffers() {
  return values().last(empty() ? 0 : static_cast<size_t>(layout_->buffer_size()));
}
absl::Span<const float> ParamVector::buffers() const {
  return values().last(empty() ? 0 : static_cast<size_t>(layout_->buffer_size()));
}

absl::Span<float> ParamVector::View(absl::string_view name) {
  return ViewOf(layout_, values(), name);
}
absl::Span<const float> ParamVector::View(absl::string_view name) const {
  return ViewOf(layout_, values(), name);
}

Digest ParamVector::ComputeDigest() const {
  Sha256 sha;
  sha.Update(values());
  return sha.Finish();
}

absl::Status CheckFinite(const ParamLayout& layout, absl::Span<const float> values) {
  TRIB_CHECK(values.size() <= static_cast<size_t>(layout.size()));
  constexpr size_t kBlock = 4096;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t end = std::min(begin + kBlock, values.size());
    if (AllFinite(values.data() + begin, end - begin)) continue;
    size_t i = begin;
    while (IsFinite(values[i])) ++i;
    return NotFiniteError(layout, static_cast<int64_t>(i), values[i]);
  }
  return absl::OkStatus();
}

absl::Status NotFiniteError(const ParamLayout& layout, int64_t index, float value) {
  for (const ParamLayout::Tensor& tensor : layout.tensors()) {
    const int64_t at = index - tensor.offset;
    if (at < 0 || at >= tensor.size) continue;
    const std::string what = std::isnan(value)   ? "NaN"
                             : std::isinf(value) ? "infinite"
                                                 : absl::StrCat(value, ", which is no model's");
    return absl::OutOfRangeError(
        absl::StrCat("tensor '", tensor.name, "': value ", at, " of ", tensor.size, " is ", what));
  }
  return absl::OutOfRangeError(absl::StrCat("value ", index, " is not finite"));
}

double SquaredNorm(absl::Span<const float> x) { return Dot(x, x); }

double Dot(absl::Span<const float> x, absl::Span<const float> y) {
  TRIB_CHECK(x.size() == y.size());
  double sum = 0.0;
  for (size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(x[i]) * y[i];
  return sum;
}

void Scale(float factor, absl::Span<float> x) {
  for (float& value : x) value *= factor;
}

void AddScaled(float factor, absl::Span<const float> x, absl::Span<float> y) {
  TRIB_CHECK(x.size() == y.size());
  const float* from = x.data();
  float* to = y.data();
  for (size_t i = 0; i < x.size(); ++i) to[i] += factor * from[i];
}

}  // namespace tributary
