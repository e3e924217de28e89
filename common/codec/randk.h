// The selector "randk": so many values chosen at random, each set of them equally likely. Both ends
// draw the same ones from the work order's seed: nothing about the choice travels.
#ifndef TRIBUTARY_COMMON_CODEC_RANDK_H_
#define TRIBUTARY_COMMON_CODEC_RANDK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/codec/selection_size.h"
#include "common/codec/stage.h"

namespace tributary {

class RandkSelector final : public Selector {
 public:
  using Options = SelectionSize;
  static absl::StatusOr<std::unique_ptr<RandkSelector>> Create(const Options& options);

  Positions Select(absl::Span<const float> values, const SelectionDomain& domain,
                   std::string& out) const override;
  absl::StatusOr<Positions> Read(absl::string_view& bytes,
                                 const SelectionDomain& domain) const override;
  float Unbiased(size_t size, size_t chosen) const override;

 private:
  explicit RandkSelector(const Options& options) : options_(options) {}
  Positions Draw(const SelectionDomain& domain) const;

  const Options options_;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_RANDK_H_
