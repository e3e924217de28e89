// The formats "int8" and "int4": a whole number of steps of its block's scale for each value, 1
// byte or half a byte a value and 4 bytes a block (common/codec/block_format.h).
//
// scale = max |x| / L over the block, with L = 127 or 7: codes are −L … L. Rounding of x / scale:
//
//   stochastic   to one of the two neighbours, with probabilities that make the decoded value
//                right in the mean, to within 2^-16 of a step (QSGD, Alistarh et al. 2017, with
//                the maximum for the norm); off by less than one step
//   nearest      off by at most half a step, and the same way in every update
//
// up to the rounding of float32: 2^-16 of a step. A scale is at least 2^-126, so that no step is
// lost among the subnormals, and so small that scale · L does not overflow.
#ifndef TRIBUTARY_COMMON_CODEC_QUANTISED_H_
#define TRIBUTARY_COMMON_CODEC_QUANTISED_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/codec/block_format.h"
#include "common/config/schema.h"

namespace tributary {

struct QuantisedOptions {
  int64_t block = 256;
  std::string rounding = "stochastic";

  static void Describe(config::Fields<QuantisedOptions>& fields);
};

class QuantisedFormat : public BlockFormat {
 public:
  using Options = QuantisedOptions;

 protected:
  QuantisedFormat(size_t bits, const Options& options);

 private:
  float ScaleOf(absl::Span<const float> values) const final;
  void Quantise(absl::Span<const float> values, float scale, Rng& rng, int8_t* codes) const final;

  const int largest_;  // code
  const bool stochastic_;
};

class Int8Format final : public QuantisedFormat {
 public:
  static absl::StatusOr<std::unique_ptr<Int8Format>> Create(const Options& options);

 private:
  explicit Int8Format(const Options& options) : QuantisedFormat(8, options) {}
  absl::string_view name() const override { return "int8"; }
};

class Int4Format final : public QuantisedFormat {
 public:
  static absl::StatusOr<std::unique_ptr<Int4Format>> Create(const Options& options);

 private:
  explicit Int4Format(const Options& options) : QuantisedFormat(4, options) {}
  absl::string_view name() const override { return "int4"; }
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_QUANTISED_H_
