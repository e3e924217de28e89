// SelectionSize: how many values a selector lets through, as its options say.
//
// With a warm-up the share of the values falls exponentially over the first versions (Lin et al.
// 2018, "Deep gradient compression", section 3.3):
//
//   share(v) = from · (fraction / from)^(v / versions)   while v < versions, then fraction
//
// v is the version that the update is based on, from 0. Both ends compute the share, to the bit.
#ifndef TRIBUTARY_COMMON_CODEC_SELECTION_SIZE_H_
#define TRIBUTARY_COMMON_CODEC_SELECTION_SIZE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "common/config/schema.h"
#include "common/ids.h"

namespace tributary {

struct SparsityWarmup {
  int64_t versions = 20;
  double from = 0.25;

  static void Describe(config::Fields<SparsityWarmup>& fields);
};

struct SelectionSize {
  std::optional<double> fraction;
  std::optional<int64_t> count;
  std::optional<SparsityWarmup> warmup;

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
    fields.Add("warmup", static_cast<std::optional<SparsityWarmup> Options::*>(&Options::warmup),
               "the share begins higher and falls to `fraction`, exponentially, over the first "
               "versions; absent: it is the same from the first");
  }
  // Not both; a warm-up falls, and to a fraction.
  absl::Status Validate() const;

  // Out of `size`: at least one, if there is one.
  size_t Of(size_t size, Version version) const;

 private:
  double Share(Version version) const;
};

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_SELECTION_SIZE_H_
