// What the training of an adapter begins with.
#ifndef TRIBUTARY_COMMON_LORA_ADAPTER_START_H_
#define TRIBUTARY_COMMON_LORA_ADAPTER_START_H_

#include <cstdint>

#include "common/lora/low_rank.h"
#include "common/rng.h"

namespace tributary {

// A fresh adapter: the values of A uniform in ±1/√n (Kaiming's rule with a = √5) and B = 0, so that
// B·A = 0. rank >= 0.
LowRank FreshAdapter(int64_t rows, int64_t columns, int64_t rank, Rng& rng);

// What a client of this rank and scale s starts from: (B[:, :r] / s, A[:r, :]) of `start`, whose
// scale is 1. With balanced factors of a decomposition that is the best of rank r. Where r is more
// than there is, fresh rows and columns follow, which change nothing. rank >= 1, scale > 0.
LowRank InitPair(const LowRank& start, int64_t rank, double scale, Rng& rng);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_LORA_ADAPTER_START_H_
