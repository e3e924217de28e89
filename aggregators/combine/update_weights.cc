#include "aggregators/combine/update_weights.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// More is a client's mistake, or its wish to outweigh everyone.
constexpr int64_t kMaxExamples = int64_t{1} << 40;

}  // namespace

absl::StatusOr<UpdateWeights> UpdateWeights::Create(const UpdateWeightOptions& options,
                                                    bool given) {
  TRIB_ASSIGN_OR_RETURN(auto staleness, StalenessRegistry().Create(options.staleness));
  const Kind kind = given                           ? Kind::kGiven
                    : options.weights == "examples" ? Kind::kExamples
                                                    : Kind::kUniform;
  return UpdateWeights(kind, std::move(staleness));
}

absl::StatusOr<double> UpdateWeights::Of(const UpdateInfo& info, const Contribution& about) const {
  if (info.num_examples < 1 || info.num_examples > kMaxExamples) {
    return absl::InvalidArgumentError(absl::StrCat("update of ", about.client.value(),
                                                   ": num_examples is ", info.num_examples,
                                                   "; allowed are 1 to ", kMaxExamples));
  }
  if (kind_ != Kind::kGiven) {
    const double own = kind_ == Kind::kExamples ? static_cast<double>(info.num_examples) : 1.0;
    return own * staleness_->At(about.staleness);
  }
  if (std::isfinite(about.coefficient) && about.coefficient >= 0) return about.coefficient;
  return absl::InvalidArgumentError(absl::StrCat("update of ", about.client.value(),
                                                 ": its coefficient is ", about.coefficient,
                                                 "; allowed are finite numbers from 0"));
}

}  // namespace tributary
