#include "common/codec/quantised.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace tributary {
namespace {

void RoundToNearest(absl::Span<const float> values, float scale, int8_t* __restrict codes) {
  // Adding 1.5·2^23 leaves the nearest integer, ties to even, in the low bits.
  constexpr float kRound = 0x1.8p23F;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto bits = std::bit_cast<int32_t>(values[i] / scale + kRound);
    codes[i] = static_cast<int8_t>(bits - std::bit_cast<int32_t>(kRound));
  }
}

// ⌊x / scale + u⌋ with u at random out of the 2^16 midpoints of [0, 1).
template <size_t kMost>
void RoundStochastically(absl::Span<const float> values, float scale, int32_t largest, Rng& rng,
                         int8_t* __restrict codes) {
  std::array<uint16_t, kMost> random;
  for (size_t i = 0; i < values.size(); i += 4) {
    const uint64_t draw = rng.Next();
    std::memcpy(&random[i], &draw, sizeof(draw));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const float sum = values[i] / scale + (static_cast<float>(random[i]) + 0.5F) * 0x1p-16F;
    const auto towards_zero = static_cast<int32_t>(sum);
    const int32_t floor =
        towards_zero - static_cast<int32_t>(static_cast<float>(towards_zero) > sum);
    codes[i] = static_cast<int8_t>(std::clamp(floor, -largest, largest));
  }
}

}  // namespace

void QuantisedOptions::Describe(config::Fields<QuantisedOptions>& fields) {
  fields.Add("block", &QuantisedOptions::block, "values that share a scale; a multiple of 8")
      .Min(16)
      .Max(65536)
      .Check([](const QuantisedOptions& options) { return CheckBlock(options.block); });
  fields
      .Add("rounding", &QuantisedOptions::rounding,
           "stochastic: right in the mean; nearest: the smaller error")
      .OneOf({"stochastic", "nearest"});
}

QuantisedFormat::QuantisedFormat(size_t bits, const Options& options)
    : BlockFormat(bits, static_cast<size_t>(options.block)),
      largest_((1 << (bits - 1)) - 1),
      stochastic_(options.rounding == "stochastic") {}

float QuantisedFormat::ScaleOf(absl::Span<const float> values) const {
  int32_t largest_bits = 0;
  for (const float value : values) {
    largest_bits = std::max(largest_bits, std::bit_cast<int32_t>(value) & 0x7fffffff);
  }
  const auto most = std::bit_cast<float>(largest_bits);
  if (most == 0 || !std::isfinite(most)) return most;
  using Limits = std::numeric_limits<float>;
  const auto codes = static_cast<float>(largest_);
  const float scale = std::max(most / codes, Limits::min());
  return scale * codes > Limits::max() ? std::nextafter(scale, 0.0F) : scale;
}

void QuantisedFormat::Quantise(absl::Span<const float> values, float scale, Rng& rng,
                               int8_t* codes) const {
  if (stochastic_) {
    RoundStochastically<kMostAtOnce>(values, scale, largest_, rng, codes);
  } else {
    RoundToNearest(values, scale, codes);
  }
}

absl::StatusOr<std::unique_ptr<Int8Format>> Int8Format::Create(const Options& options) {
  return std::unique_ptr<Int8Format>(new Int8Format(options));
}

absl::StatusOr<std::unique_ptr<Int4Format>> Int4Format::Create(const Options& options) {
  return std::unique_ptr<Int4Format>(new Int4Format(options));
}

}  // namespace tributary
