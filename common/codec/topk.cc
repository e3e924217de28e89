#include "common/codec/topk.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/codec/positions.h"
#include "common/status_macros.h"

namespace tributary {
namespace {

// The bits of |value|, which order like |value|, NaN last.
uint32_t Magnitude(float value) { return std::bit_cast<uint32_t>(value) & 0x7fffffff; }

// A bucket holds the magnitudes that share the exponent and the first 4 bits of the mantissa.
constexpr int kBucketShift = 19;
constexpr size_t kBuckets = size_t{1} << (31 - kBucketShift);

// Appends the positions of the `count` largest magnitudes in [begin, end), 1 <= count.
//
// The first pass counts magnitudes by bucket, which tells the bucket where the last one chosen is;
// the second collects all that are there or above. Of the few in the bucket nth_element then tells
// which stay.
void AppendLargest(absl::Span<const float> values, size_t begin, size_t end, size_t count,
                   Positions& chosen) {
  std::vector<uint32_t> in_bucket(kBuckets);
  for (size_t i = begin; i < end; ++i) ++in_bucket[Magnitude(values[i]) >> kBucketShift];
  size_t bucket = kBuckets - 1;
  size_t wanted = count;  // of the bucket
  for (; in_bucket[bucket] < wanted; --bucket) wanted -= in_bucket[bucket];

  const size_t first = chosen.size();
  const auto low = static_cast<uint32_t>(bucket << kBucketShift);
  std::vector<uint32_t> candidates;
  candidates.reserve(in_bucket[bucket]);
  for (size_t i = begin; i < end; ++i) {
    const uint32_t magnitude = Magnitude(values[i]);
    if (magnitude < low) continue;
    chosen.push_back(static_cast<uint32_t>(i));
    if (magnitude >> kBucketShift == bucket) candidates.push_back(magnitude);
  }

  const auto last = candidates.begin() + static_cast<std::ptrdiff_t>(wanted - 1);
  std::nth_element(candidates.begin(), last, candidates.end(), std::greater<>());
  const uint32_t least = *last;
  auto ties = std::count(candidates.begin(), last + 1, least);
  const auto stays = [&](uint32_t position) {
    const uint32_t magnitude = Magnitude(values[position]);
    return magnitude > least || (magnitude == least && ties-- > 0);
  };
  chosen.erase(std::remove_if(chosen.begin() + static_cast<std::ptrdiff_t>(first), chosen.end(),
                              std::not_fn(stays)),
               chosen.end());
}

}  // namespace

void TopkOptions::Describe(config::Fields<TopkOptions>& fields) {
  SelectionSize::Describe(fields);
  fields
      .Add("scope", &TopkOptions::scope,
           "what the values are chosen from: all together, or each tensor by itself")
      .OneOf({"global", "tensor"});
}

absl::StatusOr<std::unique_ptr<TopkSelector>> TopkSelector::Create(const Options& options) {
  TRIB_RETURN_IF_ERROR(options.Validate());
  return std::unique_ptr<TopkSelector>(new TopkSelector(options));
}

absl::Span<const size_t> TopkSelector::PartEnds(const SelectionDomain& domain) const {
  if (options_.scope == "tensor") return domain.tensor_ends;
  return absl::MakeSpan(&domain.size, 1);
}

Positions TopkSelector::Select(absl::Span<const float> values, const SelectionDomain& domain,
                               std::string& out) const {
  TRIB_CHECK(values.size() == domain.size);
  Positions chosen;
  size_t begin = 0;
  for (const size_t end : PartEnds(domain)) {
    if (begin < end) {
      AppendLargest(values, begin, end, options_.Of(end - begin, domain.version), chosen);
    }
    begin = end;
  }
  AppendPositions(chosen, domain.size, out);
  return chosen;
}

absl::StatusOr<Positions> TopkSelector::Read(absl::string_view& bytes,
                                             const SelectionDomain& domain) const {
  TRIB_ASSIGN_OR_RETURN(Positions chosen, ReadPositions(bytes, domain.size, "topk"));
  size_t begin = 0;
  size_t count = 0;
  for (const size_t end : PartEnds(domain)) {
    count += options_.Of(end - begin, domain.version);
    begin = end;
  }
  if (chosen.size() == count) return chosen;
  return absl::InvalidArgumentError(
      absl::StrCat("topk: ", count, " of ", domain.size, " values travel, found ", chosen.size()));
}

}  // namespace tributary
