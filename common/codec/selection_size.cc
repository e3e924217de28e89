#include "common/codec/selection_size.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace tributary {

absl::Status SelectionSize::Validate() const {
  if (!fraction || !count) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("fraction is ", *fraction, " and count is ",
                                                 *count, "; allowed is one of them"));
}

size_t SelectionSize::Of(size_t size) const {
  if (count) return std::min(static_cast<size_t>(*count), size);
  const double share = fraction.value_or(0.01) * static_cast<double>(size);
  return std::min(static_cast<size_t>(std::ceil(share)), size);
}

}  // namespace tributary
