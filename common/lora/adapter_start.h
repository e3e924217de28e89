// Adapters that go on from version to version: what a client starts from, what it changed, and how
// its rank may shrink.
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

// What training changed of the product: s·(B·A − B_0·A_0) = [s·B, −s·B_0]·[A; A_0], exact, of rank
// 2r at most: what lora_stacking may sum, with scale 1. `trained` and `initial` are of one shape;
// they may differ in rank.
LowRank AdapterDelta(const LowRank& trained, const LowRank& initial, double scale);

// HetLoRA's self-pruning (arXiv 2401.06432): the tail are the columns of B and the rows
// of A from ⌈γ·r⌉ on, its size ‖B_tail‖_F·‖A_tail‖_F. A client whose tail got smaller in training
// goes on with rank ⌈γ·r⌉, never below 1. `initial` and `trained` are of one shape and rank; 0 < γ
// <= 1.
int64_t SelfPrunedRank(const LowRank& initial, const LowRank& trained, double decay);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_LORA_ADAPTER_START_H_
