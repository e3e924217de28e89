// A delta that travels with a value for every trainable coordinate.
#ifndef TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_
#define TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_

#include <memory>
#include <string>

#include "common/codec/stage.h"
#include "common/params/param_layout.h"
#include "common/params/update.h"

namespace tributary {

// Adds itself from the very bytes that came, without a copy. Immutable, thread-safe.
class DensePayload final : public DeltaPayload {
 public:
  // The values begin at `offset` of `bytes`. InvalidArgument, naming the format as `name`, when
  // they are not exactly one for every trainable coordinate, or have a form that it never writes.
  static absl::StatusOr<std::unique_ptr<const DeltaPayload>> Create(
      LayoutPtr layout, absl::string_view name, std::shared_ptr<const Format> format,
      std::string bytes, size_t offset = 0);

  void AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const override;
  absl::Status CheckFinite() const override;

 private:
  DensePayload(LayoutPtr layout, std::shared_ptr<const Format> format, std::string bytes,
               size_t offset);

  const LayoutPtr layout_;
  const std::shared_ptr<const Format> format_;
  const std::string bytes_;
  const absl::string_view values_;  // in bytes_
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_
