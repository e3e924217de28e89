#include "common/codec/sparse_payload.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/codec/value_check.h"
#include "common/params/param_vector.h"

namespace tributary {
namespace {

// How many positions before its turn an accumulator's cache line is asked for.
constexpr size_t kAhead = 128;

}  // namespace

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
  const auto at = [this](int64_t coordinate) {
    return std::lower_bound(positions_.begin(), positions_.end(), coordinate) - positions_.begin();
  };
  const auto first = static_cast<size_t>(at(range.begin));
  const auto end = static_cast<size_t>(at(range.end));
  const auto begin = static_cast<size_t>(range.begin);
  for (size_t i = first; i < end; ++i) {
    __builtin_prefetch(&accumulator[positions_[std::min(i + kAhead, end - 1)] - begin], 1);
    accumulator[positions_[i] - begin] += weight * values_[i];
  }
}

absl::Status SparsePayload::CheckFinite() const {
  bool allowed = true;
  for (const float value : values_) allowed &= IsAllowed(value);
  if (allowed) return absl::OkStatus();
  const auto bad = std::find_if_not(values_.begin(), values_.end(), IsAllowed);
  return NotFiniteError(*layout_, positions_[static_cast<size_t>(bad - values_.begin())], *bad);
}

}  // namespace tributary
