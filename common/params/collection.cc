#include "common/params/collection.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace tributary {

absl::StatusOr<ParamVector> Deviations(const ParamVector& base, const ParamVector& trained,
                                       const CollectRequest& request) {
  const size_t size = base.trainable().size();
  TRIB_CHECK(trained.trainable().size() == size);
  ParamVector deviations(request.layout);
  const absl::Span<float> out = deviations.trainable();
  if (out.size() != size && out.size() != 2 * size) {
    return absl::InvalidArgumentError(
        absl::StrCat("explore: ", out.size(), " values are asked for; allowed: ", size, " or ",
                     2 * size, ", once or twice the model's trainable ones"));
  }
  const auto moved = [&](size_t i) {
    return static_cast<double>(trained.trainable()[i]) - base.trainable()[i];
  };
  double sum = 0;
  for (size_t i = 0; i < size; ++i) sum += moved(i) * moved(i);
  if (sum == 0) return deviations;
  const double mean = sum / static_cast<double>(size);
  for (size_t i = 0; i < size; ++i) out[i] = static_cast<float>(moved(i) * moved(i) / mean);
  for (size_t i = size; i < out.size(); ++i) {
    out[i] = static_cast<float>(moved(i - size) / std::sqrt(mean));
  }
  return deviations;
}

}  // namespace tributary
