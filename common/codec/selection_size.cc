#include "common/codec/selection_size.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

constexpr double kFraction = 0.01;

// base^exponent for an exponent in [0, 1), by its binary digits. Both ends must choose as many
// values: square roots and products are the same to the bit everywhere, which std::pow is not, and
// docs/wire_format.md can say which.
double Power(double base, double exponent) {
  double power = 1.0;
  while (exponent > 0) {
    base = std::sqrt(base);
    exponent *= 2;
    if (exponent < 1) continue;
    power *= base;
    exponent -= 1;
  }
  return power;
}

}  // namespace

void SparsityWarmup::Describe(config::Fields<SparsityWarmup>& fields) {
  fields.Add("versions", &SparsityWarmup::versions, "versions until the share is `fraction`")
      .Min(1);
  fields.Add("from", &SparsityWarmup::from, "the share in the first version, above `fraction`")
      .GreaterThan(0)
      .Max(1);
}

absl::Status SelectionSize::Validate() const {
  if (fraction && count) {
    return absl::InvalidArgumentError(absl::StrCat("fraction is ", *fraction, " and count is ",
                                                   *count, "; allowed is one of them"));
  }
  if (!warmup) return absl::OkStatus();
  if (count) {
    return absl::InvalidArgumentError(
        absl::StrCat("count is ", *count,
                     ", and warmup falls to a share of the values; allowed with it: "
                     "fraction"));
  }
  if (const double end = fraction.value_or(kFraction); warmup->from <= end) {
    return absl::InvalidArgumentError(
        absl::StrCat("warmup.from is ", warmup->from, "; allowed: above fraction, which is ", end));
  }
  return absl::OkStatus();
}

double SelectionSize::Share(Version version) const {
  const double end = fraction.value_or(kFraction);
  if (!warmup || version >= warmup->versions) return end;
  const double passed =
      static_cast<double>(std::max<Version>(version, 0)) / static_cast<double>(warmup->versions);
  return warmup->from * Power(end / warmup->from, passed);
}

size_t SelectionSize::Of(size_t size, Version version) const {
  if (count) return std::min(static_cast<size_t>(*count), size);
  const double share = Share(version) * static_cast<double>(size);
  return std::min(static_cast<size_t>(std::ceil(share)), size);
}

}  // namespace tributary
