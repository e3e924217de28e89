// A delta that travels with values for some of the trainable coordinates; the others are 0.
#ifndef TRIBUTARY_COMMON_CODEC_SPARSE_PAYLOAD_H_
#define TRIBUTARY_COMMON_CODEC_SPARSE_PAYLOAD_H_

#include <vector>

#include "common/codec/stage.h"
#include "common/params/param_layout.h"
#include "common/params/update.h"

namespace tributary {

// Immutable, thread-safe.
class SparsePayload final : public DeltaPayload {
 public:
  // One value for each position, which are below layout->trainable_size().
  SparsePayload(LayoutPtr layout, Positions positions, std::vector<float> values);

  void AddTo(float weight, CoordinateRange range, absl::Span<float> accumulator) const override;
  absl::Status CheckFinite() const override;

 private:
  const LayoutPtr layout_;
  const Positions positions_;
  const std::vector<float> values_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_SPARSE_PAYLOAD_H_
