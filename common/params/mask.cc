#include "common/params/mask.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"

namespace tributary {
namespace {

template <typename Visit>
void ForEachKept(const Mask& mask, Visit visit) {
  for (size_t word = 0; word < mask.words().size(); ++word) {
    for (uint64_t bits = mask.words()[word]; bits != 0; bits &= bits - 1) {
      visit(64 * word + static_cast<size_t>(std::countr_zero(bits)));
    }
  }
}

}  // namespace

std::string PackMask(const Mask& mask) {
  std::string bytes(static_cast<size_t>((mask.size() + 7) / 8), '\0');
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(mask.words()[i / 8] >> (8 * (i % 8)));
  }
  return bytes;
}

absl::StatusOr<Mask> UnpackMask(int64_t size, absl::string_view bytes) {
  const auto count = static_cast<size_t>(size);
  const bool fits = bytes.size() == (count + 7) / 8;
  const auto bit = [&](size_t i) {
    return (static_cast<uint8_t>(bytes[i / 8]) >> (i % 8) & 1) != 0;
  };
  bool padded = fits;
  for (size_t i = count; fits && i < 8 * bytes.size(); ++i) padded &= !bit(i);
  if (!padded) {
    return absl::InvalidArgumentError(absl::StrCat(
        "mask: ", bytes.size(), " bytes", fits ? " with bits after the last coordinate" : "",
        " for ", size, " coordinates; allowed: ", (count + 7) / 8, " bytes, padded with 0"));
  }
  std::vector<bool> keep(count);
  for (size_t i = 0; i < count; ++i) keep[i] = bit(i);
  return Mask(keep);
}

void ClearPruned(const Mask& mask, int64_t first, absl::Span<float> values) {
  TRIB_CHECK(0 <= first && first + static_cast<int64_t>(values.size()) <= mask.size());
  const absl::Span<const uint64_t> words = mask.words();
  for (size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<size_t>(first) + i;
    if ((words[at / 64] >> (at % 64) & 1) == 0) values[i] = 0;
  }
}

std::vector<float> GatherKept(const Mask& mask, absl::Span<const float> values) {
  TRIB_CHECK(static_cast<int64_t>(values.size()) == mask.size());
  std::vector<float> kept;
  kept.reserve(static_cast<size_t>(mask.count()));
  ForEachKept(mask, [&](size_t i) { kept.push_back(values[i]); });
  return kept;
}

void ScatterKept(const Mask& mask, absl::Span<const float> kept, absl::Span<float> values) {
  TRIB_CHECK(static_cast<int64_t>(values.size()) == mask.size());
  TRIB_CHECK(static_cast<int64_t>(kept.size()) == mask.count());
  std::fill(values.begin(), values.end(), 0.0F);
  size_t next = 0;
  ForEachKept(mask, [&](size_t i) { values[i] = kept[next++]; });
}

}  // namespace tributary
