#include "common/params/collection.h"

#include "common/check.h"

namespace tributary {

ParamVector SquaredDeviations(const ParamVector& base, const ParamVector& trained,
                              const CollectRequest& request) {
  ParamVector deviations(request.layout);
  const absl::Span<float> out = deviations.trainable();
  TRIB_CHECK(out.size() == base.trainable().size() && out.size() == trained.trainable().size());
  double sum = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    const double moved = static_cast<double>(trained.trainable()[i]) - base.trainable()[i];
    sum += moved * moved;
  }
  if (sum == 0) return deviations;
  const double scale = static_cast<double>(out.size()) / sum;
  for (size_t i = 0; i < out.size(); ++i) {
    const double moved = static_cast<double>(trained.trainable()[i]) - base.trainable()[i];
    out[i] = static_cast<float>(moved * moved * scale);
  }
  return deviations;
}

}  // namespace tributary
