#include "common/codec/dense_payload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/params/param_vector.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<const DeltaPayload>> DensePayload::Create(
    LayoutPtr layout, absl::string_view name, std::shared_ptr<const Format> format,
    std::string bytes, size_t offset) {
  const auto count = static_cast<size_t>(layout->trainable_size());
  const absl::string_view values = absl::string_view(bytes).substr(offset);
  if (values.size() != format->BytesOf(count)) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": the layout takes ", format->BytesOf(count), " bytes, found ", values.size()));
  }
  TRIB_RETURN_IF_ERROR(format->Check(values, count));
  return std::unique_ptr<const DeltaPayload>(
      new DensePayload(std::move(layout), std::move(format), std::move(bytes), offset));
}

DensePayload::DensePayload(LayoutPtr layout, std::shared_ptr<const Format> format,
                           std::string bytes, size_t offset)
    : layout_(std::move(layout)),
      format_(std::move(format)),
      bytes_(std::move(bytes)),
      values_(absl::string_view(bytes_).substr(offset)) {}

void DensePayload::AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const {
  TRIB_CHECK(0 <= range.begin && range.begin <= range.end &&
             range.end <= layout_->trainable_size());
  TRIB_CHECK(static_cast<int64_t>(accumulator.size()) == range.size());
  format_->AddTo(values_, static_cast<size_t>(layout_->trainable_size()), weight, range,
                 accumulator);
}

absl::Status DensePayload::CheckFinite() const {
  std::array<float, 4096> block;
  for (int64_t begin = 0; begin < layout_->trainable_size();) {
    const int64_t end =
        std::min(begin + static_cast<int64_t>(block.size()), layout_->trainable_size());
    const auto values = absl::MakeSpan(block).first(static_cast<size_t>(end - begin));
    std::fill(values.begin(), values.end(), 0.0F);
    AddTo(1.0F, {begin, end}, values);
    bool finite = true;
    for (const float value : values) finite &= std::isfinite(value);
    if (!finite) {
      const auto* const bad = std::find_if_not(values.begin(), values.end(),
                                               [](float value) { return std::isfinite(value); });
      return NotFiniteError(*layout_, begin + (bad - values.begin()), *bad);
    }
    begin = end;
  }
  return absl::OkStatus();
}

}  // namespace tributary
