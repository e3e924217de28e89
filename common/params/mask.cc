#include "common/params/mask.h"

namespace tributary {

void ClearPruned(const Mask& mask, int64_t first, absl::Span<float> values) {
  TRIB_CHECK(0 <= first && first + static_cast<int64_t>(values.size()) <= mask.size());
  const absl::Span<const uint64_t> words = mask.words();
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<size_t>(first) + i;
    if ((words[at / 64] >> (at % 64) & 1) == 0) values[i] = 0;
  }
}

}  // namespace tributary
