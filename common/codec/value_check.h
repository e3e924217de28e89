// What an update's values may be, and ValueCheck, which finds what they may not in a payload whose
// values stand one after another, while its bytes come.
#ifndef TRIBUTARY_COMMON_CODEC_VALUE_CHECK_H_
#define TRIBUTARY_COMMON_CODEC_VALUE_CHECK_H_

#include <cmath>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "common/codec/codec.h"
#include "common/codec/stage.h"
#include "common/params/param_layout.h"

namespace tributary {

// An update's values are below kValueLimit in magnitude, and its counts of examples and steps are
// at most kCountLimit. So no sum of four million updates weighted by their examples overflows, and
// no single client can end a job with numbers that are finite but no model's.
constexpr float kValueLimit = 0x1p64F;
constexpr int64_t kCountLimit = int64_t{1} << 40;
inline bool IsAllowed(float value) { return std::abs(value) < kValueLimit; }  // no NaN is

// OutOfRange naming the first of the values in `range` that is not allowed. `add` is
// DeltaPayload::AddTo of them; it is called for a block of the range at a time.
absl::Status CheckFiniteSums(
    const ParamLayout& layout, CoordinateRange range,
    absl::FunctionRef<void(float weight, CoordinateRange range, absl::Span<float> sums)> add);

class ValueCheck final : public PayloadCheck {
 public:
  // `format` has a ValueBytes. The values are those of `range` in the layout, which may be buffers.
  ValueCheck(LayoutPtr layout, std::shared_ptr<const Format> format, CoordinateRange range);

  void Take(absl::string_view bytes) override;
  absl::Status Finish() override;

 private:
  void TakeValues(absl::string_view bytes);

  const LayoutPtr layout_;
  const std::shared_ptr<const Format> format_;
  const CoordinateRange range_;
  int64_t next_;        // the coordinate that comes next
  std::string begun_;   // the first bytes of its value
  absl::Status found_;  // the first that is not allowed
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_VALUE_CHECK_H_
