// The selector "masked": the values that the job's mask keeps. Both ends know the mask by the base
// version: nothing about the choice travels. Without a mask all values do.
#ifndef TRIBUTARY_COMMON_CODEC_MASKED_H_
#define TRIBUTARY_COMMON_CODEC_MASKED_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/codec/stage.h"
#include "common/config/schema.h"

namespace tributary {

// The domain is all trainable coordinates, those of the mask.
class MaskedSelector final : public Selector {
 public:
  struct Options {
    static void Describe(config::Fields<Options>&) {}
  };
  static absl::StatusOr<std::unique_ptr<MaskedSelector>> Create(const Options&) {
    return std::make_unique<MaskedSelector>();
  }

  Positions Select(absl::Span<const float> values, const SelectionDomain& domain,
                   std::string& out) const override;
  absl::StatusOr<Positions> Read(absl::string_view& bytes,
                                 const SelectionDomain& domain) const override;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_MASKED_H_
