#include "common/codec/randk.h"

#include <vector>

#include "common/check.h"
#include "common/codec/positions.h"
#include "common/status_macros.h"

namespace tributary {

absl::StatusOr<std::unique_ptr<RandkSelector>> RandkSelector::Create(const Options& options) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  return std::unique_ptr<RandkSelector>(new RandkSelector(options));
}

// Floyd's algorithm (Bentley & Floyd 1987, "A sample of brilliance") on a bitmap.
Positions RandkSelector::Draw(const SelectionDomain& domain) const {
  const size_t count = options_.Of(domain.size, domain.version);
  std::vector<uint64_t> words((domain.size + 63) / 64);
  Rng rng = domain.rng;
  for (size_t end = domain.size - count; end < domain.size; ++end) {
    const auto drawn = static_cast<size_t>(rng.UniformInt(static_cast<int64_t>(end) + 1));
    const bool is_new = (words[drawn / 64] >> drawn % 64 & 1) == 0;
    const size_t position = is_new ? drawn : end;
    words[position / 64] |= uint64_t{1} << position % 64;
  }
  return PositionsOfBits(words, count);
}

Positions RandkSelector::Select(absl::Span<const float> values, const SelectionDomain& domain,
                                std::string&) const {
  TRIB_CHECK(values.size() == domain.size);
  return Draw(domain);
}

absl::StatusOr<Positions> RandkSelector::Read(absl::string_view&,
                                              const SelectionDomain& domain) const {
  return Draw(domain);
}

float RandkSelector::Unbiased(size_t size, size_t chosen) const {
  if (chosen == 0) return 1.0F;
  return static_cast<float>(static_cast<double>(size) / static_cast<double>(chosen));
}

}  // namespace tributary
