#include "common/codec/sign.h"

#include <array>
#include <bit>
#include <cmath>
#include <numeric>

namespace tributary {

void SignOptions::Describe(config::Fields<SignOptions>& fields) {
  fields.Add("block", &SignOptions::block, "values that share a scale; a multiple of 8")
      .Min(16)
      .Max(65536)
      .Check([](const SignOptions& options) { return CheckBlock(options.block); });
}

SignFormat::SignFormat(const Options& options)
    : BlockFormat(1, static_cast<size_t>(options.block)) {}

absl::StatusOr<std::unique_ptr<SignFormat>> SignFormat::Create(const Options& options) {
  return std::unique_ptr<SignFormat>(new SignFormat(options));
}

float SignFormat::ScaleOf(absl::Span<const float> values) const {
  // Eight sums side by side, then together: an order that a vector unit can keep.
  std::array<double, 8> sums{};
  size_t i = 0;
  for (; i + sums.size() <= values.size(); i += sums.size()) {
    for (size_t k = 0; k < sums.size(); ++k) sums[k] += std::abs(values[i + k]);
  }
  for (; i < values.size(); ++i) sums[0] += std::abs(values[i]);
  const double sum = std::accumulate(sums.begin(), sums.end(), 0.0);
  return static_cast<float>(sum / static_cast<double>(values.size()));
}

void SignFormat::Quantise(absl::Span<const float> values, float, Rng&, int8_t* codes) const {
  for (size_t i = 0; i < values.size(); ++i) {
    codes[i] = std::bit_cast<int32_t>(values[i]) < 0 ? -1 : 1;
  }
}

}  // namespace tributary
