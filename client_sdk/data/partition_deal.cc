#include "client_sdk/data/partition_deal.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/algorithm/container.h"

namespace tributary {

Indices Shuffled(int64_t size, Rng rng) {
  Indices indices(static_cast<size_t>(size));
  std::iota(indices.begin(), indices.end(), 0);
  rng.Shuffle(absl::MakeSpan(indices));
  return indices;
}

std::vector<Indices> ShuffledByClass(const Dataset& data, const Rng& rng) {
  std::vector<Indices> by_class(static_cast<size_t>(data.num_classes));
  for (const int32_t i : Shuffled(data.size(), rng.Split("shuffle"))) {
    by_class[static_cast<size_t>(data.labels[static_cast<size_t>(i)])].push_back(i);
  }
  return by_class;
}

std::vector<Indices> ShuffledByHeldClass(const Dataset& data, const Rng& rng) {
  std::vector<Indices> by_class = ShuffledByClass(data, rng);
  std::erase_if(by_class, [](const Indices& examples) { return examples.empty(); });
  return by_class;
}

std::vector<int64_t> EvenSizes(int64_t total, int64_t parts) {
  std::vector<int64_t> sizes(static_cast<size_t>(parts), total / parts);
  for (int64_t i = 0; i < total % parts; ++i) ++sizes[static_cast<size_t>(i)];
  return sizes;
}

std::vector<int64_t> ProportionalSizes(int64_t total, const std::vector<double>& shares) {
  std::vector<int64_t> sizes(shares.size());
  double sum = 0;
  int64_t given = 0;
  for (size_t i = 0; i < shares.size(); ++i) {
    sum += shares[i];
    const auto end =
        i + 1 == shares.size()
            ? total
            : std::clamp<int64_t>(std::llround(sum * static_cast<double>(total)), given, total);
    sizes[i] = end - given;
    given = end;
  }
  return sizes;
}

void DealOut(const Indices& items, const std::vector<int64_t>& sizes,
             const std::vector<size_t>& owners, Partition& parts) {
  auto next = items.begin();
  for (size_t i = 0; i < sizes.size(); ++i) {
    Indices& part = parts[owners[i]];
    part.insert(part.end(), next, next + sizes[i]);
    next += sizes[i];
  }
}

std::vector<size_t> Everyone(int64_t clients) {
  std::vector<size_t> owners(static_cast<size_t>(clients));
  std::iota(owners.begin(), owners.end(), 0);
  return owners;
}

void FillEmptyParts(Partition& parts) {
  for (Indices& part : parts) {
    if (!part.empty()) continue;
    Indices& largest = *absl::c_max_element(
        parts, [](const Indices& a, const Indices& b) { return a.size() < b.size(); });
    part.push_back(largest.back());
    largest.pop_back();
  }
}

}  // namespace tributary
