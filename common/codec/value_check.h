// ValueCheck: finds what is not finite in a payload whose values stand one after another, while its
// bytes come.
#ifndef TRIBUTARY_COMMON_CODEC_VALUE_CHECK_H_
#define TRIBUTARY_COMMON_CODEC_VALUE_CHECK_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "common/codec/codec.h"
#include "common/codec/stage.h"
#include "common/params/param_layout.h"

namespace tributary {

// OutOfRange naming the first of the values in `range` that is not finite. `add` is
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
  absl::Status found_;  // the first that is wrong
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_VALUE_CHECK_H_
