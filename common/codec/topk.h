// The selector "topk": the values of the largest magnitude, exactly; of equal ones those of the
// lowest position. A NaN counts as larger than any number, so that the receiver sees it.
//
// With `scope: tensor` the fraction or count holds for each tensor by itself, so that a layer
// with small values is heard too. The positions travel: common/codec/positions.h.
#ifndef TRIBUTARY_COMMON_CODEC_TOPK_H_
#define TRIBUTARY_COMMON_CODEC_TOPK_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/codec/selection_size.h"
#include "common/codec/stage.h"
#include "common/config/schema.h"

namespace tributary {

struct TopkOptions : SelectionSize {
  std::string scope = "global";

  static void Describe(config::Fields<TopkOptions>& fields);
};

class TopkSelector final : public Selector {
 public:
  using Options = TopkOptions;
  static absl::StatusOr<std::unique_ptr<TopkSelector>> Create(const Options& options);

  Positions Select(absl::Span<const float> values, const SelectionDomain& domain,
                   std::string& out) const override;
  // InvalidArgument also for another number of positions than the options say.
  absl::StatusOr<Positions> Read(absl::string_view& bytes,
                                 const SelectionDomain& domain) const override;

 private:
  explicit TopkSelector(Options options) : options_(std::move(options)) {}
  // Where each part ends that is chosen from by itself.
  absl::Span<const size_t> PartEnds(const SelectionDomain& domain) const;

  const Options options_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_TOPK_H_
