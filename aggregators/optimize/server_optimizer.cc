#include "aggregators/optimize/server_optimizer.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace tributary {

absl::Status CheckSize(const ParamLayout& layout, absl::Span<const float> delta) {
  const auto size = static_cast<size_t>(layout.trainable_size());
  if (delta.size() == size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the delta has ", delta.size(), " coordinates; the layout has ", size, " trainable ones"));
}

absl::Status EnsureState(const LayoutPtr& layout, float initial, absl::string_view name,
                         ParamVector& state) {
  if (state.empty()) {
    state = ParamVector(layout);
    std::fill(state.values().begin(), state.values().end(), initial);
  } else if (state.layout()->digest() != layout->digest()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the restored ", name, " is of another layout than the model"));
  }
  return absl::OkStatus();
}

}  // namespace tributary
