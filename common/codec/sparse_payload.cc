#include "common/codec/sparse_payload.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/check.h"
#include "common/params/param_vector.h"

namespace tributary {

SparsePayload::SparsePayload(LayoutPtr layout, Positions positions, std::vector<float> values)
    : layout_(std::move(layout)), positions_(std::move(positions)), values_(std::move(values)) {
  TRIB_CHECK(positions_.size() == values_.size());
  TRIB_CHECK(positions_.empty() || positions_.back() < layout_->trainable_size());
}

void SparsePayload::AddTo(float weight, CoordinateRange range,
                          absl::Span<float> accumulator) const {
  TRIB_CHECK(0 <= range.begin && range.begin <= range.end &&
             range.end <= layout_->trainable_size());
  TRIB_CHECK(static_cast<int64_t>(accumulator.size()) == range.size());
  const auto first = std::lower_bound(positions_.begin(), positions_.end(), range.begin);
  const auto last = std::lower_bound(first, positions_.end(), range.end);
  const float* value = values_.data() + (first - positions_.begin());
  float* const to = accumulator.data() - range.begin;
  for (auto at = first; at != last; ++at, ++value) to[*at] += weight * *value;
}

absl::Status SparsePayload::CheckFinite() const {
  bool finite = true;
  for (const float value : values_) finite &= std::isfinite(value);
  if (finite) return absl::OkStatus();
  const auto bad = std::find_if_not(values_.begin(), values_.end(),
                                    [](float value) { return std::isfinite(value); });
  return NotFiniteError(*layout_, positions_[static_cast<size_t>(bad - values_.begin())], *bad);
}

}  // namespace tributary
