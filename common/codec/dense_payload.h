// A delta that travels with a value for every trainable coordinate.
#ifndef TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_
#define TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_

#include <memory>
#include <string>

#include "common/codec/payload_bytes.h"
#include "common/codec/stage.h"
#include "common/mutex.h"
#include "common/params/param_layout.h"
#include "common/params/update.h"

namespace tributary {

// Adds itself from the very bytes that came, without a copy; from a file, a block at a time.
// Immutable, thread-safe.
class DensePayload final : public DeltaPayload {
 public:
  // The values begin at `offset` of `bytes`. InvalidArgument, naming the format as `name`, when
  // they are not exactly one for every trainable coordinate, or have a form that it never writes.
  static absl::StatusOr<std::unique_ptr<const DeltaPayload>> Create(
      LayoutPtr layout, absl::string_view name, std::shared_ptr<const Format> format,
      PayloadBytes bytes, size_t offset = 0);

  void AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const override;
  absl::Status CheckFinite() const override;
  absl::Status status() const override;

 private:
  DensePayload(LayoutPtr layout, std::shared_ptr<const Format> format, PayloadBytes bytes,
               size_t offset);
  void AddFromFile(float weight, CoordinateRange range, absl::Span<float> accumulator) const;

  const LayoutPtr layout_;
  const std::shared_ptr<const Format> format_;
  const PayloadBytes bytes_;
  const size_t offset_;  // of the values in bytes_
  mutable Mutex mu_;
  mutable absl::Status read_ ABSL_GUARDED_BY(mu_);  // the first failure
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_DENSE_PAYLOAD_H_
