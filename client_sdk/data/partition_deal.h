// What the partitioners have in common: shuffling, sizes of pieces, dealing pieces out.
#ifndef TRIBUTARY_CLIENT_SDK_DATA_PARTITION_DEAL_H_
#define TRIBUTARY_CLIENT_SDK_DATA_PARTITION_DEAL_H_

#include <cstdint>
#include <vector>

#include "client_sdk/data/partition.h"

namespace tributary {

// After so many draws a partitioner that draws again gives up.
inline constexpr int kMaxDraws = 1000;

using Indices = std::vector<int32_t>;

// 0 … size − 1 in random order.
Indices Shuffled(int64_t size, Rng rng);

// The examples of each class, shuffled: [num_classes]; or only of the classes that have some.
std::vector<Indices> ShuffledByClass(const Dataset& data, const Rng& rng);
std::vector<Indices> ShuffledByHeldClass(const Dataset& data, const Rng& rng);

// Sizes of `parts` even pieces of `total`: the first total % parts have one more.
std::vector<int64_t> EvenSizes(int64_t total, int64_t parts);

// Sizes in proportion to `shares` (which sum to 1) by rounding their running sum.
std::vector<int64_t> ProportionalSizes(int64_t total, const std::vector<double>& shares);

// Appends consecutive pieces of `items`, of the given sizes, to the parts of their owners.
void DealOut(const Indices& items, const std::vector<int64_t>& sizes,
             const std::vector<size_t>& owners, Partition& parts);

// 0 … clients − 1.
std::vector<size_t> Everyone(int64_t clients);

// Gives each empty part one example of the largest; there are as many examples as parts.
void FillEmptyParts(Partition& parts);

}  // namespace tributary

#endif  // TRIBUTARY_CLIENT_SDK_DATA_PARTITION_DEAL_H_
