#include "common/codec/value_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "common/check.h"
#include "common/params/param_vector.h"

namespace tributary {

absl::Status CheckFiniteSums(
    const ParamLayout& layout, CoordinateRange range,
    absl::FunctionRef<void(float weight, CoordinateRange range, absl::Span<float> sums)> add) {
  std::array<float, 2048> sums{};
  const auto add_block = [&](float weight, int64_t begin) {
    const int64_t end = std::min(begin + static_cast<int64_t>(sums.size()), range.end);
    add(weight, {begin, end}, absl::MakeSpan(sums).first(static_cast<size_t>(end - begin)));
  };
  // kValueLimit·x is finite exactly of an x that is allowed, and a sum that is not finite stays so.
  // What is allowed may still add up to more, or be multiplied in an order that overflows: then the
  // second pass, value by value, finds nothing.
  static_assert(double{kValueLimit} * kValueLimit > std::numeric_limits<float>::max());
  for (int64_t begin = range.begin; begin < range.end; begin += sums.size()) {
    add_block(kValueLimit, begin);
  }
  if (std::all_of(sums.begin(), sums.end(), [](float sum) { return std::isfinite(sum); })) {
    return absl::OkStatus();
  }
  for (int64_t begin = range.begin; begin < range.end; begin += sums.size()) {
    sums.fill(0);
    add_block(1.0F, begin);
    const auto* const bad = std::find_if_not(sums.begin(), sums.end(), IsAllowed);
    if (bad != sums.end()) return NotFiniteError(layout, begin + (bad - sums.begin()), *bad);
  }
  return absl::OkStatus();
}

ValueCheck::ValueCheck(LayoutPtr layout, std::shared_ptr<const Format> format,
                       CoordinateRange range)
    : layout_(std::move(layout)), format_(std::move(format)), range_(range), next_(range.begin) {
  TRIB_CHECK(format_->ValueBytes() > 0);
}

void ValueCheck::Take(absl::string_view bytes) {
  const size_t width = format_->ValueBytes();
  if (!begun_.empty()) {
    const size_t missing = std::min(width - begun_.size(), bytes.size());
    begun_.append(bytes.data(), missing);
    bytes.remove_prefix(missing);
    if (begun_.size() < width) return;
    TakeValues(begun_);
    begun_.clear();
  }
  const size_t whole = bytes.size() - bytes.size() % width;
  TakeValues(bytes.substr(0, whole));
  begun_ = std::string(bytes.substr(whole));
}

void ValueCheck::TakeValues(absl::string_view bytes) {
  const size_t count = bytes.size() / format_->ValueBytes();
  const CoordinateRange values{next_, next_ + static_cast<int64_t>(count)};
  TRIB_CHECK(values.end <= range_.end);
  next_ = values.end;
  if (!found_.ok()) return;
  found_ = CheckFiniteSums(
      *layout_, values, [&](float weight, CoordinateRange part, absl::Span<float> sums) {
        format_->AddTo(bytes, count, weight, {part.begin - values.begin, part.end - values.begin},
                       sums);
      });
}

absl::Status ValueCheck::Finish() {
  TRIB_CHECK(next_ == range_.end && begun_.empty());
  return found_;
}

}  // namespace tributary
