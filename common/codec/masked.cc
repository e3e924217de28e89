#include "common/codec/masked.h"

#include "common/check.h"
#include "common/codec/positions.h"

namespace tributary {
namespace {

Positions Kept(const SelectionDomain& domain) {
  if (domain.mask == nullptr) return AllPositions(domain.size);
  TRIB_CHECK(static_cast<size_t>(domain.mask->size()) == domain.size);
  return PositionsOfBits(domain.mask->words(), static_cast<size_t>(domain.mask->count()));
}

}  // namespace

Positions MaskedSelector::Select(absl::Span<const float> values, const SelectionDomain& domain,
                                 std::string&) const {
  TRIB_CHECK(values.size() == domain.size);
  return Kept(domain);
}

absl::StatusOr<Positions> MaskedSelector::Read(absl::string_view&,
                                               const SelectionDomain& domain) const {
  return Kept(domain);
}

}  // namespace tributary
