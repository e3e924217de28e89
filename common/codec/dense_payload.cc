#include "common/codec/dense_payload.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/codec/value_check.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

constexpr size_t kBlockValues = 1 << 16;  // of a file, at a time

}  // namespace

absl::StatusOr<std::unique_ptr<const DeltaPayload>> DensePayload::Create(
    LayoutPtr layout, absl::string_view name, std::shared_ptr<const Format> format,
    PayloadBytes bytes, size_t offset) {
  const auto count = static_cast<size_t>(layout->trainable_size());
  const uint64_t found = bytes.size() - offset;
  if (found != format->BytesOf(count)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": the layout takes ", format->BytesOf(count), " bytes, found ", found));
  }
  if (!bytes.in_memory() && format->ValueBytes() == 0) {
    TRIB_ASSIGN_OR_RETURN(bytes, std::move(bytes).Take());
  }
  if (bytes.in_memory()) TRIB_RETURN_IF_ERROR(format->Check(bytes.view().substr(offset), count));
  return std::unique_ptr<const DeltaPayload>(
      new DensePayload(std::move(layout), std::move(format), std::move(bytes), offset));
}

DensePayload::DensePayload(LayoutPtr layout, std::shared_ptr<const Format> format,
                           PayloadBytes bytes, size_t offset)
    : layout_(std::move(layout)),
      format_(std::move(format)),
      bytes_(std::move(bytes)),
      offset_(offset) {}

void DensePayload::AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const {
  TRIB_CHECK(0 <= range.begin && range.begin <= range.end &&
             range.end <= layout_->trainable_size());
  TRIB_CHECK(static_cast<int64_t>(accumulator.size()) == range.size());
  if (!bytes_.in_memory()) return AddFromFile(weight, range, accumulator);
  format_->AddTo(bytes_.view().substr(offset_), static_cast<size_t>(layout_->trainable_size()),
                 weight, range, accumulator);
}

void DensePayload::AddFromFile(float weight, CoordinateRange range,
                               absl::Span<float> accumulator) const {
  const size_t width = format_->ValueBytes();
  std::string block(std::min(kBlockValues, accumulator.size()) * width, '\0');
  for (size_t at = 0; at < accumulator.size(); at += kBlockValues) {
    const absl::Span<float> sums = accumulator.subspan(at, kBlockValues);
    const auto bytes = absl::MakeSpan(block).first(sums.size() * width);
    const uint64_t from = offset_ + (static_cast<uint64_t>(range.begin) + at) * width;
    if (const absl::Status read = bytes_.Read(from, bytes); !read.ok()) {
      MutexLock lock(mu_);
      read_.Update(read);
      return;
    }
    format_->AddTo(absl::string_view(bytes.data(), bytes.size()), sums.size(), weight,
                   {0, static_cast<int64_t>(sums.size())}, sums);
  }
}

absl::Status DensePayload::status() const {
  MutexLock lock(mu_);
  return read_;
}

absl::Status DensePayload::CheckFinite() const {
  const absl::Status found =
      CheckFiniteSums(*layout_, {0, layout_->trainable_size()},
                      [this](float weight, CoordinateRange range, absl::Span<float> sums) {
                        AddTo(weight, range, sums);
                      });
  TRIB_RETURN_IF_ERROR(status());
  return found;
}

}  // namespace tributary
