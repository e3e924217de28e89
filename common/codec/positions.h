// Positions of chosen values, and their bytes where they travel: little-endian,
//
//   [ count, uint32 | block | block | … ]    nothing follows a count of 0 or of all
//   block: [ shift, 1 byte | lows | highs ]
//
// A block has kPositionsPerBlock positions, the last what is left. Of a gap (how many positions it
// leaves out since the one before) the lows have the lowest `shift` bits, and the highs the rest in
// unary, as that many 0 and a 1: a Golomb-Rice code (Rice & Plaunt 1971), its parameter chosen for
// each block. It takes about 0.2 bits a position above the entropy of a choice at random from
// 0.1 % to 10 %, and less where the density varies. With shift 0 the highs are a bitmap. Bits fill
// a byte from its lowest; lows and highs each end on a byte, the bits left over being 0.
#ifndef TRIBUTARY_COMMON_CODEC_POSITIONS_H_
#define TRIBUTARY_COMMON_CODEC_POSITIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/codec/stage.h"

namespace tributary {

inline constexpr size_t kPositionsPerBlock = 128;

// Appends the bytes of `positions` out of [0, size).
void AppendPositions(const Positions& positions, size_t size, std::string& out);

// Takes them off the front of `bytes`. InvalidArgument, beginning with `stage`: bytes that end too
// early, a shift above 31, a position that is not below `size`. Any shift up to 31 is accepted, and
// anything in the bits left over. Allocates no more than 32 times the bytes, or 4·size if all are
// chosen.
absl::StatusOr<Positions> ReadPositions(absl::string_view& bytes, size_t size,
                                        absl::string_view stage);

// [0, size).
Positions AllPositions(size_t size);

// Of the `count` bits that are set: bit i % 64 of word i / 64 is position i.
Positions PositionsOfBits(absl::Span<const uint64_t> words, size_t count);

}  // namespace tributary

#endif  // TRIBUTARY_COMMON_CODEC_POSITIONS_H_
