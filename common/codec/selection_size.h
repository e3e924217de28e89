// SelectionSize: how many values a selector lets through, as its options say.
#ifndef TRIBUTARY_COMMON_CODEC_SELECTION_SIZE_H_
#define TRIBUTARY_COMMON_CODEC_SELECTION_SIZE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "common/config/schema.h"

namespace tributary {

struct SelectionSize {
  std::optional<double> fraction;
  std::optional<int64_t> count;

  // Also for option structs that have more fields and are derived from this one.
  template <typename Options>
  static void Describe(config::Fields<Options>& fields) {
    fields
        .Add("fraction", static_cast<std::optional<double> Options::*>(&Options::fraction),
             "share of the values that travel, rounded up to a whole one; 0.01 without `count`")
        .GreaterThan(0)
        .Max(1);
    fields
        .Add("count", static_cast<std::optional<int64_t> Options::*>(&Options::count),
             "instead: how many values travel, or all if there are fewer")
        .Min(1);
  }
  absl::Status Validate() const;  // not both

  // Out of `size`: at least one, if there is one.
  size_t Of(size_t size) const;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_SELECTION_SIZE_H_
