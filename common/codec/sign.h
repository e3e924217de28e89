// The format "sign": one bit a value and 4 bytes a block (common/codec/block_format.h).
//
// scale = mean |x| over the block, which is nearest to the signs in the mean square; x becomes
// ±scale by its sign bit, so that 0 counts as positive and −0 as negative (EF-signSGD: Karimireddy
// et al. 2019, algorithm 1, by block). Biased: learns with error feedback only.
#ifndef TRIBUTARY_COMMON_CODEC_SIGN_H_
#define TRIBUTARY_COMMON_CODEC_SIGN_H_

#include <memory>

#include "absl/status/statusor.h"
#include "common/codec/block_format.h"
#include "common/config/schema.h"

namespace tributary {

struct SignOptions {
  int64_t block = 1024;

  static void Describe(config::Fields<SignOptions>& fields);
};

class SignFormat final : public BlockFormat {
 public:
  using Options = SignOptions;
  static absl::StatusOr<std::unique_ptr<SignFormat>> Create(const Options& options);

 private:
  explicit SignFormat(const Options& options);
  absl::string_view name() const override { return "sign"; }
  float ScaleOf(absl::Span<const float> values) const override;
  void Quantise(absl::Span<const float> values, float scale, Rng& rng,
                int8_t* codes) const override;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_SIGN_H_
