#include "aggregators/lora/delta_log.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aggregators/lora/recompression.h"
#include "common/params/param_vector.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

bool SameModules(const ModelDelta& x, const ModelDelta& y) {
  return std::equal(x.begin(), x.end(), y.begin(), y.end(), [](const auto& p, const auto& q) {
    return p.first == q.first && p.second.factors.rows == q.second.factors.rows &&
           p.second.factors.columns == q.second.factors.columns;
  });
}

// `steps`: at least one.
absl::StatusOr<ModuleDelta> Sum(absl::Span<const ModuleDelta* const> steps) {
  std::vector<const LowRank*> factors;
  std::vector<float> dense;
  for (const ModuleDelta* step : steps) {
    factors.push_back(&step->factors);
    if (step->dense.empty()) continue;
    dense.resize(step->dense.size());
    AddScaled(1.0F, step->dense, absl::MakeSpan(dense));
  }
  LowRank low = Concatenate(factors);
  if (!dense.empty()) {
    AddProduct(low, absl::MakeSpan(dense));
    return ModuleDelta{.factors = {.rows = low.rows, .columns = low.columns},
                       .dense = std::move(dense)};
  }
  if (DenseIsNoLarger(low.rows, low.columns, low.rank)) {
    TRIB_ASSIGN_OR_RETURN(low, RecompressExactly(low));
  }
  return DeltaOf(std::move(low));
}

}  // namespace

absl::Status LoraDeltaLog::Append(Version version, ModelDelta delta) {
  if (version != latest() + 1) {
    return absl::FailedPreconditionError(
        absl::StrCat("adapter log: version is ", version, "; the next is ", latest() + 1));
  }
  if (!deltas_.empty() && !SameModules(delta, deltas_.front())) {
    return absl::InvalidArgumentError(
        absl::StrCat("adapter log: version ", version, " has other modules or shapes"));
  }
  deltas_.push_back(std::move(delta));
  return absl::OkStatus();
}

absl::StatusOr<ModelDelta> LoraDeltaLog::Since(Version base) const {
  if (base < first_ || base > latest()) {
    return absl::OutOfRangeError(absl::StrCat("adapter log: base version is ", base,
                                              "; allowed are ", first_, " to ", latest()));
  }
  ModelDelta sum;
  if (deltas_.empty()) return sum;
  for (const auto& [name, step] : deltas_.front()) {
    const LowRank none{.rows = step.factors.rows, .columns = step.factors.columns};
    const ModuleDelta nothing{.factors = none, .dense = {}};
    std::vector<const ModuleDelta*> steps = {&nothing};
    for (auto i = static_cast<size_t>(base - first_); i < deltas_.size(); ++i) {
      steps.push_back(&deltas_[i].at(name));
    }
    TRIB_ASSIGN_OR_RETURN(sum[name], Sum(steps));
  }
  return sum;
}

void LoraDeltaLog::ForgetBefore(Version version) {
  while (first_ < version && !deltas_.empty()) {
    deltas_.pop_front();
    ++first_;
  }
}

}  // namespace tributary
